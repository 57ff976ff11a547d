//! `GET /v1/products?search=`: any text that a person types.

use tests::people;

use super::lists::{Shelf, ids, list};

#[tokio::test]
async fn products_are_found_by_the_words_of_their_names() {
    let mark = people::random();
    let names = [
        "Kännchen",
        "Set of 6 cups",
        "Brass lantern with stand",
        "Фонарь",
        "ランタン",
        "Tea_Pot 2nd",
        "O'Neill's dish",
    ];
    let names: Vec<String> = names.iter().map(|name| format!("{name} {mark}")).collect();
    let shelf = Shelf::new(&names).await;
    let find = |search: &str| {
        let page = list(&[("search", search), ("limit", "100")]).expect(200).json();
        let mut found: Vec<usize> = ids(&page)
            .iter()
            .map(|id| shelf.products.iter().position(|product| product.id.to_string() == *id).expect("one of these"))
            .collect();
        found.sort_unstable();
        found
    };
    let everything: Vec<usize> = (0..names.len()).collect();
    let part = &mark[..10];
    for (search, expected) in [
        (mark.clone(), &everything[..]),
        (part.to_owned(), &everything),
        (format!("{part} brass"), &[]),
        (mark.to_uppercase(), &everything),
        (format!("{mark} känn"), &[0]),
        (format!("KÄNNCHEN {mark}"), &[0]),
        (format!("{mark} ka\u{308}nnchen"), &[0]),
        (format!("känn {mark}"), &[]),
        (format!("cups {mark}"), &[1]),
        (format!("6 cups {mark}"), &[1]),
        (format!("cups {mark} of"), &[1]),
        (format!("7 cups {mark}"), &[]),
        (format!("{mark} cu"), &[1]),
        (format!("{mark} s"), &[1, 2, 6]),
        (format!("c {mark}"), &[]),
        (format!("with {mark}"), &[2]),
        (format!("stand lantern brass {mark}"), &[2]),
        (format!("Фонарь {mark}"), &[3]),
        (format!("{mark} фон"), &[3]),
        (format!("{mark} ラン"), &[4]),
        (format!("tea_pot {mark}"), &[5]),
        (format!("teaxpot {mark}"), &[]),
        (format!("o'neill {mark}"), &[6]),
        (format!("{mark} nothing"), &[]),
    ] {
        assert_eq!(find(&search), expected, "{search}");
    }
}

#[tokio::test]
async fn no_operator_of_a_search_engine_or_a_database_does_anything() {
    let mark = people::random();
    let names = [format!("Brass lantern {mark}"), format!("Glass lantern {mark}")];
    let shelf = Shelf::new(&names).await;
    for (search, expected) in [
        (format!("+{mark}"), 2),
        (format!("-{mark}"), 2),
        (format!("{mark}*"), 2),
        (format!("\"{mark}\""), 2),
        (format!("\"{mark}"), 2),
        (format!("({mark}))"), 2),
        (format!("(((({mark}"), 2),
        (format!("~{mark}"), 2),
        (format!("<{mark} >"), 2),
        (format!("@{mark} @9z"), 0),
        (format!("{mark}' OR '1'='1"), 0),
        (format!("{mark}%"), 2),
        (format!("{mark}\\"), 2),
        (format!("{mark}\0"), 2),
        (format!("🐎 {mark} 🐎"), 2),
        (format!("+{mark} -brass"), 1),
        (format!("brass -{mark}"), 1),
        (format!("{mark} .*"), 2),
        (format!("{mark} [a-z]+"), 0),
    ] {
        let found = ids(&list(&[("search", &search)]).expect(200).json());
        assert_eq!(found.len(), expected, "{search:?}");
        assert!(
            found.iter().all(|id| shelf.products.iter().any(|product| product.id.to_string() == *id)),
            "{search:?}"
        );
    }
}

#[test]
fn whatever_is_typed_is_no_error() {
    let long = "ab ".repeat(26);
    for search in [
        "",
        " ",
        "+",
        "-",
        "*",
        "\"",
        "(",
        ")",
        "~",
        "<",
        ">",
        "@",
        "+-*\"()~<>@",
        "+ +",
        "**",
        "a",
        "x y z",
        "1",
        "_",
        "%",
        "\\",
        "'",
        "''",
        ";",
        "--",
        "🐎",
        "é",
        "e\u{301}",
        "\u{0}",
        "\u{feff}",
        "\u{202e}abc",
        "ﷺ",
        "ß",
        "İ",
        "of the",
        "NULL",
        "+a* -b*",
        "@@",
        "\"a b\"@5",
        "{{7*7}}",
        "${x}",
        "%s%n",
        "../../x",
        "𝕒𝕓𝕔",
        "ก็",
        "한국어",
        "中",
        "中文字",
        &long,
    ] {
        let _ = list(&[("search", search), ("limit", "1")]).expect(200);
    }
    for nothing in ["", "  ", "+-*", "🐎"] {
        let page = list(&[("search", nothing), ("limit", "3")]).expect(200).json();
        assert_eq!(ids(&page).len(), 3, "no word is no filter: {nothing:?}");
    }
    let _ = list(&[("search", &"x".repeat(80))]).expect(200);
    let too_long = list(&[("search", &"x".repeat(81))]).expect_problem(422, "validation-failed");
    assert_eq!(too_long["errors"][0]["field"], "search");
}
