//! The layout of every mail: one list of blocks, rendered as text and as HTML, so that both say the same.

use std::fmt::Write as _;

/// A mail, ready to be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Mail {
    pub subject: String,
    pub text: String,
    pub html: String,
}

/// A part of a mail's body.
pub(super) enum Block {
    Paragraph(String),
    /// A code for the reader to type in.
    Code {
        label: &'static str,
        code: String,
    },
    /// Names and values.
    Facts(Vec<(&'static str, String)>),
}

impl Mail {
    pub(super) fn new(subject: impl Into<String>, blocks: &[Block]) -> Self {
        let subject = subject.into();
        Self { text: text(blocks), html: html(&subject, blocks), subject }
    }
}

fn text(blocks: &[Block]) -> String {
    let blocks: Vec<String> = blocks
        .iter()
        .map(|block| match block {
            Block::Paragraph(text) => text.clone(),
            Block::Code { label, code } => format!("{label}: {code}"),
            Block::Facts(facts) => {
                let lines: Vec<String> = facts.iter().map(|(name, value)| format!("{name}: {value}")).collect();
                lines.join("\n")
            }
        })
        .collect();
    blocks.join("\n\n") + "\n"
}

/// Inline styles and a table layout, for mail clients. No remote content.
fn html(subject: &str, blocks: &[Block]) -> String {
    let blocks: String = blocks.iter().map(block_html).collect();
    format!(
        "<!DOCTYPE html>\n\
         <html lang=\"en\">\n\
         <head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{}</title></head>\n\
         <body style=\"margin:0;background:#f4f4f2;font-family:Helvetica,Arial,sans-serif;color:#222\">\n\
         <table role=\"presentation\" width=\"100%\" cellpadding=\"24\"><tr><td align=\"center\">\n\
         <table role=\"presentation\" width=\"520\" cellpadding=\"24\" style=\"background:#fff;border-radius:8px\"><tr>\
         <td align=\"left\">\n\
         <p style=\"margin:0 0 16px;font-weight:bold;font-size:20px\">Souk</p>\n\
         {blocks}\
         </td></tr></table>\n\
         </td></tr></table>\n\
         </body>\n\
         </html>\n",
        escaped(subject)
    )
}

fn block_html(block: &Block) -> String {
    match block {
        Block::Paragraph(text) => {
            format!("<p style=\"margin:0 0 16px;line-height:1.5\">{}</p>\n", escaped(text))
        }
        Block::Code { label, code } => format!(
            "<p style=\"margin:0 0 16px\">{}:<br><strong style=\"font-size:28px;letter-spacing:2px\">{}</strong></p>\n",
            escaped(label),
            escaped(code)
        ),
        Block::Facts(facts) => {
            let mut rows = String::new();
            for (name, value) in facts {
                let (name, value) = (escaped(name), escaped(value));
                let _ = write!(rows, "<tr><td style=\"padding-right:16px\">{name}</td><td>{value}</td></tr>");
            }
            format!("<table style=\"margin:0 0 16px\">{rows}</table>\n")
        }
    }
}

/// HTML-escaped text, safe in an attribute too.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_put_into_a_mail_becomes_markup() {
        let hostile = "<img src=x onerror=\"a('&')\">".to_owned();
        let blocks = [
            Block::Paragraph(hostile.clone()),
            Block::Code { label: "Code", code: hostile.clone() },
            Block::Facts(vec![("Name", hostile.clone())]),
        ];
        let mail = Mail::new(hostile.as_str(), &blocks);
        assert!(!mail.html.contains("<img") && !mail.html.contains("a('"), "{}", mail.html);
        assert_eq!(mail.html.matches("&lt;img src=x onerror=&quot;a(&#39;&amp;&#39;)&quot;&gt;").count(), 4);
        assert_eq!(mail.text.matches(&hostile).count(), 3, "{}", mail.text);
    }
}
