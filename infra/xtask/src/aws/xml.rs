//! The XML of CloudFormation's replies: the text of elements by their name.

/// The contents of each element of that name, in order, still escaped.
pub fn elements<'a>(xml: &'a str, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let pieces = xml.split(&open).skip(1);
    pieces.filter_map(|piece| piece.split_once(&close).map(|(content, _)| content)).collect()
}

/// The text of the first element of that name.
pub fn text(xml: &str, name: &str) -> Option<String> {
    elements(xml, name).first().map(|content| unescape(content))
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#34;", "\"")
        .replace("&apos;", "'")
        .replace("&#39;", "'")
        .replace("&#x27;", "'")
        .replace("&#10;", "\n")
        .replace("&#13;", "\r")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::{elements, text};

    #[test]
    fn elements_are_found_in_order() {
        let xml = "<L><member><A>1</A></member><member><A>2</A><B>x</B></member></L>";
        assert_eq!(elements(xml, "member"), ["<A>1</A>", "<A>2</A><B>x</B>"]);
        assert_eq!(text(xml, "B").as_deref(), Some("x"));
        assert_eq!(text(xml, "C"), None);
    }

    #[test]
    fn escaped_text_is_restored_once() {
        assert_eq!(text("<A>{&quot;a&quot;: &quot;&amp;lt;&quot;}</A>", "A").as_deref(), Some(r#"{"a": "&lt;"}"#));
    }
}
