//! `cargo xtask sizes`: sizes of the functions in `target/lambda`, zipped as AWS stores them.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::files;
use crate::progress::say;
use crate::workspace::Workspace;

/// Size budget of a zipped function, in bytes.
const MAX_ZIP_BYTES: u64 = 4_000_000;
/// The authorizer's is smaller: it starts before every request's function.
const MAX_AUTHORIZER_ZIP_BYTES: u64 = 1_200_000;

pub fn sizes(workspace: &Workspace) -> Result<()> {
    let dir = workspace.local().join("sizes");
    files::create_dir(&dir)?;
    say!("{:<28} {:>10} {:>10}", "function", "binary MB", "zip MB");
    let mut over = 0;
    for function in workspace.functions()? {
        let bootstrap = workspace.bootstrap(&function);
        let binary = fs::metadata(&bootstrap).with_context(|| format!("{function} is not built"))?.len();
        let zip = dir.join(format!("{function}.zip"));
        files::zip(Command::new("python3"), &bootstrap, &zip)?;
        let zipped = fs::metadata(&zip)?.len();
        let budget = if function == "authorizer" { MAX_AUTHORIZER_ZIP_BYTES } else { MAX_ZIP_BYTES };
        let remark = if zipped > budget { "over its budget" } else { "" };
        over += u32::from(zipped > budget);
        say!("{}", format!("{function:<28} {:>10} {:>10} {remark}", megabytes(binary), megabytes(zipped)).trim_end());
    }
    files::remove_dir(&dir)?;
    say!(
        "{over} over their budget of {} MB, the authorizer's {}",
        megabytes(MAX_ZIP_BYTES),
        megabytes(MAX_AUTHORIZER_ZIP_BYTES)
    );
    Ok(())
}

/// With two decimals.
fn megabytes(bytes: u64) -> String {
    format!("{}.{:02}", bytes / 1_000_000, bytes % 1_000_000 / 10_000)
}

#[cfg(test)]
mod tests {
    #[test]
    fn megabytes_are_cut_to_two_decimals() {
        assert_eq!(super::megabytes(2_109_999), "2.10");
        assert_eq!(super::megabytes(59_999), "0.05");
    }
}
