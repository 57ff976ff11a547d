//! What a client takes: `Accept` and `Accept-Encoding` (RFC 9110, 12.5).

/// The media type that the client likes best, the first of them where it likes several as well or does not say. None if it takes
/// none of them.
pub(super) fn media_type(offered: &[&'static str], accept: Option<&str>) -> Option<&'static str> {
    let Some(accept) = accept.filter(|accept| !accept.trim().is_empty()) else { return offered.first().copied() };
    let mut best = None;
    for &media_type in offered {
        let weight = weight_of(media_type, accept);
        if weight > best.map_or(0, |(weight, _)| weight) {
            best = Some((weight, media_type));
        }
    }
    best.map(|(_, media_type)| media_type)
}

/// Whether the client takes the reply compressed. Only if it names the coding: `*` is said by clients that cannot.
pub(super) fn takes_gzip(accept_encoding: Option<&str>) -> bool {
    preferences(accept_encoding.unwrap_or_default())
        .any(|(coding, weight)| weight > 0 && (coding.eq_ignore_ascii_case("gzip")))
}

/// What the most specific range that a media type falls in says of it, in thousandths; 0 if none does.
fn weight_of(media_type: &str, accept: &str) -> u16 {
    let (kind, _) = media_type.split_once('/').unwrap_or_default();
    let specificity = |range: &str| {
        if range.eq_ignore_ascii_case(media_type) {
            Some(2)
        } else if range.strip_suffix("/*").is_some_and(|range| range.eq_ignore_ascii_case(kind)) {
            Some(1)
        } else {
            (range == "*/*").then_some(0)
        }
    };
    let found = preferences(accept).filter_map(|(range, weight)| Some((specificity(range)?, weight)));
    found.max_by_key(|(specificity, _)| *specificity).map_or(0, |(_, weight)| weight)
}

/// The members of such a header, each with its weight in thousandths. One whose weight is none is not taken.
fn preferences(header: &str) -> impl Iterator<Item = (&str, u16)> {
    header.split(',').map(|member| {
        let mut parts = member.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        (name, weight.map_or(1000, thousandths))
    })
}

/// A weight as the RFC has it: `0.5`, at most three digits after the dot, at most 1.
fn thousandths(text: &str) -> u16 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !matches!(whole, "0" | "1") || fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    let fraction: u16 = format!("{fraction:0<3}").parse().unwrap_or_default();
    (whole.parse::<u16>().unwrap_or_default() * 1000 + fraction).min(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERED: [&str; 2] = ["application/x-ndjson", "text/csv"];

    #[test]
    fn the_client_gets_what_it_likes_best() {
        for (accept, expected) in [
            (None, Some("application/x-ndjson")),
            (Some(""), Some("application/x-ndjson")),
            (Some("*/*"), Some("application/x-ndjson")),
            (Some("text/csv"), Some("text/csv")),
            (Some("Text/CSV; charset=utf-8"), Some("text/csv")),
            (Some("text/*"), Some("text/csv")),
            (Some("text/html, text/*;q=0.5"), Some("text/csv")),
            (Some("text/csv;q=0.4, application/x-ndjson;q=0.5"), Some("application/x-ndjson")),
            (Some("text/csv, */*;q=0.1"), Some("text/csv")),
            (Some("application/x-ndjson;q=0, */*"), Some("text/csv")),
            (Some("*/*;q=0.5, text/csv;q=0.4"), Some("application/x-ndjson")),
            (Some("application/json"), None),
            (Some("text/html, image/*"), None),
            (Some("text/csv;q=0"), None),
            (Some("text/csv;q=2"), None),
            (Some("*"), None),
        ] {
            assert_eq!(media_type(&OFFERED, accept), expected, "{accept:?}");
        }
    }

    #[test]
    fn a_reply_is_compressed_for_who_says_so() {
        for header in ["gzip", "GZIP", "deflate, gzip;q=0.5", "br, gzip ; q=1.000", "gzip;q=0.001"] {
            assert!(takes_gzip(Some(header)), "{header}");
        }
        for header in ["", "*", "identity", "gzip;q=0", "gzip; q=0.000", "br", "xgzip", "gzip;q=x"] {
            assert!(!takes_gzip(Some(header)), "{header}");
        }
        assert!(!takes_gzip(None));
    }
}
