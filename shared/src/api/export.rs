//! Forms of an export: lines of JSON for programs, CSV (RFC 4180) for spreadsheets.
//!
//! Each form ends with a line that says whether the export is complete; docs/EXPORT.md has the format.

use csv::{Terminator, WriterBuilder};
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::products::{ExportLine, Product};
use crate::error::ApiError;

const COLUMNS: [&str; 10] =
    ["id", "sku", "name", "description", "amount", "currency", "stock", "version", "createdAt", "updatedAt"];

/// A form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Ndjson,
    Csv,
}

impl Form {
    /// The form for a media type of the endpoint.
    #[must_use]
    pub fn of(media_type: &str) -> Self {
        if media_type == "text/csv" { Self::Csv } else { Self::Ndjson }
    }

    /// The first line, if the form has one.
    ///
    /// # Errors
    /// None is known.
    pub fn head(self) -> Result<Vec<u8>, ApiError> {
        match self {
            Self::Ndjson => Ok(Vec::new()),
            Self::Csv => record(COLUMNS),
        }
    }

    /// One line with its terminator.
    ///
    /// # Errors
    /// When a time cannot be formatted, which holds for no stored product.
    pub fn line(self, line: &ExportLine) -> Result<Vec<u8>, ApiError> {
        match self {
            Self::Ndjson => {
                let mut text = serde_json::to_vec(line).map_err(ApiError::internal)?;
                text.push(b'\n');
                Ok(text)
            }
            Self::Csv => match line {
                ExportLine::Product(product) => csv_product(product),
                ExportLine::End { products } => last("#end", [&products.to_string(), "", ""]),
                ExportLine::Error { problem, after, request_id, .. } => {
                    last("#error", [problem, &after.as_ref().map(Uuid::to_string).unwrap_or_default(), request_id])
                }
            },
        }
    }
}

fn csv_product(product: &Product) -> Result<Vec<u8>, ApiError> {
    let Product { id, sku, name, description, price, stock, version, created_at, updated_at } = product;
    let time = |time: &time::OffsetDateTime| time.format(&Rfc3339).map_err(ApiError::internal);
    record([
        &id.to_string(),
        &harmless(sku),
        &harmless(name),
        &harmless(description),
        &price.amount.to_string(),
        price.currency.as_str(),
        &stock.to_string(),
        &version.to_string(),
        &time(created_at)?,
        &time(updated_at)?,
    ])
}

/// A record without a product, of the same length as the others, so that strict parsers read it.
fn last(kind: &str, [sku, name, description]: [&str; 3]) -> Result<Vec<u8>, ApiError> {
    record([kind, sku, name, description, "", "", "", "", "", ""])
}

fn record(fields: [&str; COLUMNS.len()]) -> Result<Vec<u8>, ApiError> {
    let mut builder = WriterBuilder::new();
    let mut writer = builder.terminator(Terminator::CRLF).buffer_capacity(512).from_writer(Vec::new());
    writer.write_record(fields).map_err(ApiError::internal)?;
    writer.into_inner().map_err(|error| ApiError::internal(error.to_string()))
}

/// CSV injection: a field that begins like a formula gets an apostrophe in front, as OWASP recommends
/// (<https://owasp.org/www-community/attacks/CSV_Injection>). Lines of JSON keep the exact text.
fn harmless(text: &str) -> std::borrow::Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}").into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::{
        error::Problem,
        money::{Currency, Money},
    };

    fn product(name: &str) -> ExportLine {
        let created_at = datetime!(2026-01-01 00:00:00.5 UTC);
        ExportLine::Product(Product {
            id: Uuid::nil(),
            sku: "A-1".into(),
            name: name.into(),
            description: "two\r\nlines, \"quoted\"".into(),
            price: Money { amount: 1999, currency: Currency::EUR },
            stock: 3,
            version: 7,
            created_at,
            updated_at: created_at,
        })
    }

    fn text(form: Form, line: &ExportLine) -> String {
        String::from_utf8(form.line(line).unwrap()).unwrap()
    }

    #[test]
    fn the_documented_header_is_the_first_line() {
        let document = include_str!("../../../docs/EXPORT.md");
        assert!(document.contains(&format!("header line: `{}` |", COLUMNS.join(","))));
    }

    #[test]
    fn csv_is_quoted_as_the_rfc_has_it() {
        assert_eq!(
            text(Form::Csv, &product("Vase, blau")),
            "00000000-0000-0000-0000-000000000000,A-1,\"Vase, blau\",\"two\r\nlines, \"\"quoted\"\"\",1999,EUR,3,7,\
             2026-01-01T00:00:00.5Z,2026-01-01T00:00:00.5Z\r\n"
        );
    }

    #[test]
    fn no_name_is_a_formula() {
        for (name, written) in [
            ("=1+1", ",'=1+1,"),
            ("@SUM(A1)", ",'@SUM(A1),"),
            ("+1", ",'+1,"),
            ("-1", ",'-1,"),
            ("\t=1", ",'\t=1,"),
            ("1=1", ",1=1,"),
            ("'quoted'", ",'quoted',"),
        ] {
            assert!(text(Form::Csv, &product(name)).contains(written), "{name}");
            let json: serde_json::Value = serde_json::from_str(&text(Form::Ndjson, &product(name))).unwrap();
            assert_eq!(json["name"], name);
        }
    }

    #[test]
    fn every_record_has_as_many_fields_and_every_line_of_json_its_type() {
        let error = ExportLine::Error {
            problem: Problem::Unavailable.urn().into(),
            title: Problem::Unavailable.title().into(),
            after: Some(Uuid::max()),
            request_id: "r-1".into(),
        };
        let lines = [product("x"), ExportLine::End { products: 1 }, error];
        let mut table = Form::Csv.head().unwrap();
        for (line, kind) in lines.iter().zip(["product", "end", "error"]) {
            table.extend(Form::Csv.line(line).unwrap());
            let json = text(Form::Ndjson, line);
            assert_eq!(json.find('\n'), Some(json.len() - 1));
            assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["type"], kind);
        }
        let records: Vec<_> = csv::Reader::from_reader(&table[..]).into_records().map(Result::unwrap).collect();
        let first: Vec<_> = records.iter().map(|record| record[0].to_owned()).collect();
        assert_eq!(first[1..], ["#end", "#error"]);
        assert_eq!(records[2][2], Uuid::max().to_string());
        assert_eq!(Form::Ndjson.head().unwrap(), b"");
    }
}
