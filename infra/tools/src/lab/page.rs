//! One self-contained page with everything on it: no script, no font, no remote address.

use std::fmt::Write as _;

use anyhow::Result;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    chart::Chart,
    finding::{Finding, Table},
};

const STYLE: &str = include_str!("page.css");

pub fn html(findings: &[(&str, Finding)], now: OffsetDateTime) -> Result<String> {
    let entry = |(name, finding): &(&str, Finding)| format!("<li><a href=\"#{name}\">{}</a></li>", finding.title);
    let contents = joined(findings.iter().map(entry));
    let sections = findings.iter().map(|(name, finding)| section(name, finding)).collect::<Result<String>>()?;
    let time = now.replace_nanosecond(0)?.format(&Rfc3339)?;
    Ok(format!(
        "<!doctype html>\n\
         <html lang=\"en\">\n\
         <head>\n\
         <meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Souk: the lab</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n\
         <style>\n{STYLE}</style>\n\
         </head>\n\
         <body>\n\
         <header>\n\
         <h1>The lab</h1>\n\
         <p>What the runtime does, seen from outside: the functions of Souk, run as Lambda runs them, one idea at a time. \
         Measured on one machine at <time datetime=\"{time}\">{time}</time>, with a build that is made to be quick to compile; on another machine \
         the figures differ and the ideas do not.</p>\n\
         <nav aria-label=\"Experiments\"><ol>{contents}</ol></nav>\n\
         </header>\n\
         <main>\n{sections}</main>\n\
         </body>\n\
         </html>\n"
    ))
}

fn section(name: &str, finding: &Finding) -> Result<String> {
    let mut html = format!("<section id=\"{name}\">\n<h2>{}</h2>\n", finding.title);
    if let Some(surprise) = &finding.surprise {
        writeln!(html, "<p class=\"surprise\">This time it did not show: {surprise}.</p>")?;
    }
    writeln!(html, "<p><strong>What you see.</strong> {}</p>", finding.seen)?;
    writeln!(html, "<p><strong>What to say.</strong> {}</p>", finding.said)?;
    html += "<div class=\"charts\">\n";
    for chart in &finding.charts {
        html += &figure(chart)?;
    }
    html += &table(&finding.table);
    html += "</div>\n</section>\n";
    Ok(html)
}

fn figure(chart: &Chart) -> Result<String> {
    let entry = |(index, (name, mark))| {
        format!("<li><span class=\"series-{index}\" aria-hidden=\"true\">{mark}</span> {name}</li>")
    };
    let entries = joined(chart.legend().into_iter().enumerate().map(entry));
    let legend = if entries.is_empty() { String::new() } else { format!("<ul class=\"legend\">{entries}</ul>\n") };
    Ok(format!("<figure>\n<figcaption>{}</figcaption>\n{legend}{}</figure>\n", chart.title, chart.svg()?))
}

fn table(table: &Table) -> String {
    let row = |row: &[String]| {
        let cells = row.iter().enumerate().map(|(column, text)| match column {
            0 => format!("<th scope=\"row\">{text}</th>"),
            _ => format!("<td>{text}</td>"),
        });
        format!("<tr>{}</tr>\n", joined(cells))
    };
    let header = joined(table.columns.iter().map(|name| format!("<th scope=\"col\">{name}</th>")));
    let rows = joined(table.rows.iter().map(|cells| row(cells)));
    format!(
        "<div class=\"table\" tabindex=\"0\"><table>\n<thead><tr>{header}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
    )
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().concat()
}
