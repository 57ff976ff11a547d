//! Layers: a room, that is a top-level module of a crate, imports only from rooms below it.
//!
//! The order is the first column of the table in the documentation of `main.rs` or `lib.rs`: the top row first, and in a row from left
//! to right. An import is a `use` declaration, or a path that begins with `crate`, `$crate` or `super`, wherever it stands. Items under
//! `#[cfg(test)]` are free.
//!
//! Needs the standard library only, so that the test of another crate can include this file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A source file.
pub struct Source {
    /// Relative to `main.rs` or `lib.rs`.
    pub path: PathBuf,
    pub text: String,
}

/// Checks the files below `root` against the order in `entry`, the text of `main.rs` or `lib.rs`. Returns a message for each import that
/// does not go down, for each room that the table lacks, and for each name in the table that is no room.
///
/// # Panics
/// When a file cannot be read.
pub fn violations(root: &Path, entry: &str) -> Vec<String> {
    violations_of(&sources(root), entry)
}

/// The Rust files below a directory, without the crate's root.
///
/// # Panics
/// When a file cannot be read.
pub fn sources(root: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for item in fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display())) {
            let path = item.unwrap().path();
            let relative = path.strip_prefix(root).unwrap().to_owned();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && relative != Path::new("main.rs")
                && relative != Path::new("lib.rs")
            {
                found.push(Source { text: fs::read_to_string(&path).unwrap(), path: relative });
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

/// As [`violations`], of files that have been read.
pub fn violations_of(sources: &[Source], entry: &str) -> Vec<String> {
    let order = order(entry);
    let position = |room: &str| order.iter().position(|known| *known == room);
    let exports = exports(entry, sources);
    let mut found = Vec::new();
    for room in &order {
        if !sources.iter().any(|source| source.room() == *room) {
            found.push(format!("the table names `{room}`, which is no room"));
        }
    }
    for source in sources {
        let (room, path) = (source.room(), source.path.display());
        let Some(own) = position(room) else {
            found.push(format!("{path}: the table lacks the room `{room}`"));
            continue;
        };
        for (line, name) in source.imports() {
            let exporter = exports.get(name).copied();
            let target = if position(name).is_some() { name } else { exporter.unwrap_or(name) };
            match position(target) {
                Some(imported) if imported < own => {
                    found.push(format!("{path}:{line}: `{room}` imports `{target}`, which is above it"));
                }
                None if exporter.is_none() => {
                    found.push(format!("{path}:{line}: `{room}` imports `{name}`, which is no room of the table"));
                }
                _ => {}
            }
        }
    }
    found.dedup();
    found
}

/// The names between backticks in the first column of the table.
fn order(entry: &str) -> Vec<&str> {
    let cells = entry.lines().filter_map(|line| line.strip_prefix("//! |")?.split('|').next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}

/// Names at the root of the crate besides its rooms, each with the room or the other crate that it comes from: imports of the root
/// itself, and exported macros.
fn exports<'a>(entry: &'a str, sources: &'a [Source]) -> BTreeMap<&'a str, &'a str> {
    let mut exports = BTreeMap::new();
    for import in imports(&tokens(entry)) {
        let is_prefixed = matches!(import.segments[..], ["crate" | "self", ..]);
        exports.extend(import.segments.get(usize::from(is_prefixed)).map(|origin| (import.name, *origin)));
    }
    for source in sources {
        let texts: Vec<&str> = tokens(&source.text).iter().map(|token| token.text).collect();
        let names = texts.windows(5).filter(|texts| texts.starts_with(&["macro_export", "]", "macro_rules", "!"]));
        exports.extend(names.map(|texts| (texts[4], source.room())));
    }
    exports
}

impl Source {
    /// The top-level module that the file belongs to.
    fn room(&self) -> &str {
        let first = self.path.iter().next().and_then(|first| first.to_str()).unwrap_or_default();
        first.trim_end_matches(".rs")
    }

    /// How deep in the crate the file's module is.
    fn depth(&self) -> usize {
        self.path.iter().count() - usize::from(self.path.ends_with("mod.rs"))
    }

    /// The names at the root of the crate that the file imports, each with its line.
    fn imports(&self) -> Vec<(usize, &str)> {
        let imports = imports(&tokens(&self.text)).into_iter();
        imports.filter_map(|import| Some((import.line, import.at_root(self.depth())?))).collect()
    }
}

/// One path, as written.
struct Import<'a> {
    segments: Vec<&'a str>,
    /// The name that it has in its module.
    name: &'a str,
    line: usize,
    /// How many modules of the same file are around it.
    nesting: usize,
}

impl<'a> Import<'a> {
    /// The first name below the root of the crate, for a path from the root or out of a module that is `depth` deep.
    fn at_root(&self, depth: usize) -> Option<&'a str> {
        if self.segments[0] == "crate" {
            return self.segments.get(1).copied();
        }
        let climbs = self.segments.iter().take_while(|segment| **segment == "super").count();
        if climbs < depth + self.nesting { None } else { self.segments.get(climbs).copied() }
    }
}

/// Every `use` declaration, its groups taken apart, and every other path that begins with `crate` or `super`.
fn imports<'a>(tokens: &[Token<'a>]) -> Vec<Import<'a>> {
    let text = |index: usize| tokens.get(index).map_or("", |token: &Token| token.text);
    let mut found = Vec::new();
    // For each module of this file that is open: how many braces are open around it.
    let mut modules = Vec::new();
    let (mut braces, mut index) = (0, 0);
    while index < tokens.len() {
        let first = found.len();
        match text(index) {
            // `use<'a>` in a type captures lifetimes.
            "use" if text(index + 1) != "<" => index = tree(tokens, index + 1, &mut Vec::new(), &mut found),
            "crate" | "super" if text(index + 1) == "::" && text(index.wrapping_sub(1)) != "::" => {
                index = tree(tokens, index, &mut Vec::new(), &mut found);
            }
            word => {
                match word {
                    "mod" if text(index + 2) == "{" => modules.push(braces),
                    "{" => braces += 1,
                    "}" => {
                        braces -= 1;
                        modules.pop_if(|outside| *outside == braces);
                    }
                    _ => {}
                }
                index += 1;
            }
        }
        found[first..].iter_mut().for_each(|import| import.nesting = modules.len());
    }
    found
}

/// Reads a path, or a tree of them, into `found`; returns where it ends. `path` holds the segments before it.
fn tree<'a>(tokens: &[Token<'a>], mut index: usize, path: &mut Vec<&'a str>, found: &mut Vec<Import<'a>>) -> usize {
    let before = path.len();
    let text = |index: usize| tokens.get(index).map_or("", |token: &Token| token.text);
    loop {
        match text(index) {
            "$" | "::" => index += 1,
            "{" => {
                index += 1;
                while !matches!(text(index), "}" | "") {
                    index = tree(tokens, index, path, found);
                    index += usize::from(text(index) == ",");
                }
                index += 1;
                break;
            }
            segment => {
                path.push(segment);
                let line = tokens.get(index).map_or(0, |token| token.line);
                index += 1;
                if text(index) == "::" && text(index + 1) != "<" {
                    continue;
                }
                let mut name = segment;
                if text(index) == "as" {
                    name = text(index + 1);
                    index += 2;
                }
                found.push(Import { segments: path.clone(), name, line, nesting: 0 });
                break;
            }
        }
    }
    path.truncate(before);
    index
}

/// An identifier, a number or a punctuation mark.
struct Token<'a> {
    text: &'a str,
    line: usize,
}

/// A file's tokens, without those of items under `#[cfg(test)]`.
fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut all = lexed(source, 1).into_iter().peekable();
    while let Some(token) = all.next() {
        tokens.push(token);
        if !tokens.iter().map(|token| token.text).rev().take(7).eq(["]", ")", "test", "(", "cfg", "[", "#"]) {
            continue;
        }
        // The item ends with its braces, with a semicolon, or where the braces around it end.
        let mut depth = 0;
        while let Some(token) = all.next_if(|token| depth > 0 || token.text != "}") {
            match token.text {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth -= 1,
                _ => {}
            }
            if depth == 0 && matches!(token.text, "}" | ";") {
                break;
            }
        }
    }
    tokens
}

/// A text's tokens, without comments and literals. Literals that hold a path, as attributes do, are read as one.
fn lexed(source: &str, first_line: usize) -> Vec<Token<'_>> {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let (mut tokens, mut rest, mut line) = (Vec::new(), source, first_line);
    while let Some(character) = rest.chars().next() {
        let next = rest.chars().nth(1);
        let length = match character {
            _ if is_word(character) => {
                raw_string(rest).unwrap_or_else(|| rest.find(|character| !is_word(character)).unwrap_or(rest.len()))
            }
            '"' => quoted(rest),
            '\'' if next == Some('\\') || rest.chars().nth(2) == Some('\'') => quoted(rest),
            '/' if next == Some('/') => rest.find('\n').unwrap_or(rest.len()),
            '/' if next == Some('*') => block_comment(rest),
            ':' if next == Some(':') => 2,
            other => other.len_utf8(),
        };
        let (text, after) = rest.split_at(length);
        if is_word(character) && !text.ends_with(['"', '#'])
            || matches!(text.as_bytes(), [mark] if mark.is_ascii_punctuation())
            || text == "::"
        {
            tokens.push(Token { text, line });
        } else if text.starts_with("\"crate::") {
            tokens.extend(lexed(text.trim_matches('"'), line));
        }
        line += text.matches('\n').count();
        rest = after;
    }
    tokens
}

/// The length of the raw string that a text begins with.
fn raw_string(text: &str) -> Option<usize> {
    let after = ["r", "br", "cr"].iter().find_map(|prefix| text.strip_prefix(prefix))?;
    let hashes = after.find(|character| character != '#')?;
    let content = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(text.len() - content.len() + content.find(&end)? + end.len())
}

/// The length of the string or character that a text begins with.
fn quoted(text: &str) -> usize {
    let mut is_escaped = false;
    let quote = text.chars().next();
    for (index, character) in text.char_indices().skip(1) {
        if !is_escaped && Some(character) == quote {
            return index + 1;
        }
        is_escaped = !is_escaped && character == '\\';
    }
    text.len()
}

/// The length of the block comment that a text begins with; they nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut length) = (0, 0);
    loop {
        let rest = &text[length..];
        if rest.starts_with("/*") {
            (depth, length) = (depth + 1, length + 2);
        } else if rest.starts_with("*/") {
            (depth, length) = (depth - 1, length + 2);
        } else {
            length += rest.chars().next().map_or(0, char::len_utf8);
        }
        if depth == 0 || length == text.len() {
            return length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Source, violations_of};

    const ENTRY: &str = "\
//! A crate.
//!
//! | Room | Content |
//! | --- | --- |
//! | [`top`], [`beside`] | the `first` row |
//! | [`middle`] | |
//! | [`bottom`] | |

pub mod top;
pub(crate) use other_crate::attribute as boxed;
pub use bottom::Thing;
";

    /// The violations of a crate with these files besides an empty one for each room.
    fn check(files: &[(&str, &str)]) -> Vec<String> {
        let empty = ["top.rs", "beside/mod.rs", "middle.rs", "bottom/mod.rs"].map(|path| (path, ""));
        let sources: Vec<Source> = empty
            .iter()
            .chain(files)
            .map(|(path, text)| Source { path: path.into(), text: (*text).to_owned() })
            .collect();
        violations_of(&sources, ENTRY)
    }

    #[test]
    fn imports_that_go_down_or_stay_in_the_room_are_allowed() {
        assert_eq!(check(&[]), [""; 0]);
        let top =
            "use crate::{beside::{self, a}, middle}; use super::bottom; use std::top; fn f() { crate::bottom::g() }";
        let bottom =
            "use super::b; use self::top; use crate::bottom::c; mod top { use super::d; } pub(crate) fn top() {}";
        assert_eq!(check(&[("top.rs", top), ("bottom/a.rs", bottom)]), [""; 0]);
    }

    #[test]
    fn an_import_that_goes_up_is_found_in_every_form() {
        let forms = [
            "use crate::top;",
            "use crate::top::{a, b as c};",
            "use crate::{bottom::x, top::*};",
            "use ::std::fmt; pub(crate) use {std::io, crate::top::x};",
            "use super::super::top::x;",
            "mod inner { use super::super::super::top::x; }",
            "fn f() { crate::top::g::<u8>() }",
            "fn f(x: &<crate::top::T as Clone>::U) { g('\"', '\\'', b'{', \"\\\"\") }",
            "macro_rules! m { () => { $crate::top::x!() } }",
            "#[serde(with = \"crate::top::x\")] struct S;",
            "const A: &str = r#\"\"\"#; use crate::top;",
        ];
        for form in forms {
            let found = check(&[("bottom/planted.rs", &format!("\n{form}"))]);
            assert_eq!(found, ["bottom/planted.rs:2: `bottom` imports `top`, which is above it"], "{form}");
        }
    }

    #[test]
    fn every_path_of_a_group_is_checked_and_has_its_own_line() {
        let group = "use crate::{\n    beside::{a, b::c},\n    bottom::{e, f}, top::d,\n    middle,\n};";
        let expected = [
            "middle.rs:2: `middle` imports `beside`, which is above it",
            "middle.rs:3: `middle` imports `top`, which is above it",
        ];
        assert_eq!(check(&[("middle.rs", group)]), expected);
    }

    #[test]
    fn in_a_row_the_left_room_is_above_the_right_one() {
        assert_eq!(check(&[("top.rs", "use crate::beside;")]), [""; 0]);
        let found = check(&[("beside/a.rs", "use crate::top;")]);
        assert_eq!(found, ["beside/a.rs:1: `beside` imports `top`, which is above it"]);
    }

    #[test]
    fn comments_literals_and_tests_are_not_read() {
        let free = [
            "//! use crate::top;",
            "/// [`crate::top`] /* \nfn f() {}",
            "/* /* */ use crate::top; */",
            "const A: &str = \"use crate::top; \\\" use crate::top;\";",
            "const A: &str = r##\"\"# use crate::top; \"##;",
            "#[cfg(test)]\nmod tests { use crate::top; mod a { use crate::top; } }",
            "#[cfg(test)] use crate::top; #[cfg(test)] #[allow(x)] fn f(_: [u8; 2]) { crate::top::g() }",
        ];
        for text in free {
            assert_eq!(check(&[("bottom/a.rs", text)]), [""; 0], "{text}");
        }
        for item in ["mod tests { fn f() { 'a: loop {} } }", "use a::{b, c};"] {
            let found = check(&[("bottom/a.rs", &format!("#[cfg(test)] {item}\nuse crate::top;"))]);
            assert_eq!(found, ["bottom/a.rs:2: `bottom` imports `top`, which is above it"], "{item}");
        }
        let field = "struct S { #[cfg(test)] a: u8 }\nuse crate::top;";
        assert_eq!(check(&[("bottom/a.rs", field)]).len(), 1);
    }

    #[test]
    fn an_exported_macro_belongs_to_the_room_that_defines_it() {
        let (top, bottom) = ("#[macro_export]\nmacro_rules! shout { () => {} }", "crate::shout!();");
        let found = check(&[("top.rs", top), ("bottom/a.rs", bottom)]);
        assert_eq!(found, ["bottom/a.rs:1: `bottom` imports `top`, which is above it"]);
        assert_eq!(check(&[("bottom/a.rs", top), ("top.rs", bottom)]), [""; 0]);
    }

    #[test]
    fn a_name_at_the_root_is_a_reexport_or_a_violation() {
        assert_eq!(check(&[("bottom/a.rs", "use crate::{boxed, Thing};")]), [""; 0]);
        let found = check(&[("bottom/a.rs", "use super::super::*;")]);
        assert_eq!(found, ["bottom/a.rs:1: `bottom` imports `*`, which is no room of the table"]);
    }

    #[test]
    fn the_table_and_the_rooms_are_the_same() {
        assert_eq!(check(&[("attic/a.rs", "")]), ["attic/a.rs: the table lacks the room `attic`"]);
        let found = violations_of(
            &[Source { path: "bottom.rs".into(), text: String::new() }],
            "//! | [`cellar`], [`bottom`] |",
        );
        assert_eq!(found, ["the table names `cellar`, which is no room"]);
    }
}
