//! Requirements of the machine: system packages and free disk space. Missing packages are named, and installed where no
//! password is needed for it.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::environment;
use crate::progress;
use crate::stage::Stage;

/// Free disk space in bytes that a first build and the tools need.
const MIN_FREE_FIRST_BUILD: u64 = 3 << 30;
/// Free disk space in bytes that a stage needs.
const MIN_FREE_RUN: u64 = 300 << 20;

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Installs the packages of programs that the stage runs and that are missing.
pub fn packages(stage: &Stage) -> Result<()> {
    let missing = missing_packages(stage);
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    progress::note(&format!("missing packages: {list}"));
    let command = format!("apt-get update -qq && apt-get install -qq --yes --no-install-recommends {list}");
    let by_hand = format!("install them and run this again:\n    sudo sh -c '{command}'");
    if find("apt-get").is_none() {
        bail!("these packages are needed, by their Debian names: {list}");
    }
    let mut shell = if is_root() {
        Command::new("sh")
    } else if sudo_needs_no_password() {
        let mut sudo = Command::new("sudo");
        sudo.args(["--non-interactive", "sh"]);
        sudo
    } else {
        bail!("packages are missing: {list}; {by_hand}");
    };
    progress::note(&format!("installing them now: {command}"));
    // Debian starts a server that it installs. The stage runs its own, so `policy-rc.d` forbids that.
    let script = format!(
        "export DEBIAN_FRONTEND=noninteractive\n\
         policy=/usr/sbin/policy-rc.d\n\
         if [ ! -e $policy ]; then printf '#!/bin/sh\\nexit 101\\n' >$policy && chmod 755 $policy && made=yes; fi\n\
         ({command}) >&2; result=$?\n\
         if [ \"$made\" = yes ]; then rm -f $policy; fi\n\
         exit $result"
    );
    progress::step("system packages", || {
        let status = shell.args(["-c", &script]).status()?;
        if !status.success() || !missing_packages(stage).is_empty() {
            bail!("the packages could not be installed ({status}); {by_hand}");
        }
        Ok(())
    })
}

/// Without a linker and a C compiler: those were needed to build this program.
fn missing_packages(stage: &Stage) -> Vec<&'static str> {
    let mut missing = Vec::new();
    if !stage.mysql.is_external && (find("mariadbd").is_none() || find("mariadb-install-db").is_none()) {
        missing.push("mariadb-server");
    }
    if !stage.redis.is_external && find("redis-server").is_none() {
        missing.push("redis-server");
    }
    if find("python3").is_none() {
        missing.push("python3");
    }
    if !python_makes_environments() {
        missing.push("python3-venv");
    }
    missing
}

/// Debian packages Python without `ensurepip`, which puts pip into a virtual environment.
fn python_makes_environments() -> bool {
    let check = Command::new("python3").args(["-c", "import ensurepip, venv"]).stderr(Stdio::null()).status();
    check.is_ok_and(|status| status.success())
}

fn sudo_needs_no_password() -> bool {
    find("sudo").is_some()
        && Command::new("sudo")
            .args(["--non-interactive", "true"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
}

fn find(program: &str) -> Option<std::path::PathBuf> {
    environment::program_dirs().into_iter().map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// Fails fast, with figures, rather than halfway with a broken file.
pub fn disk(dir: &Path, is_first_build: bool) -> Result<()> {
    let needed = if is_first_build { MIN_FREE_FIRST_BUILD } else { MIN_FREE_RUN };
    let disk = rustix::fs::statvfs(dir).with_context(|| format!("cannot read the free space of {}", dir.display()))?;
    let free = disk.f_bavail * disk.f_frsize;
    if free < needed {
        let mib = |bytes: u64| bytes >> 20;
        bail!(
            "not enough room on the disk of {}: {} MiB are free, {} MiB are needed",
            dir.display(),
            mib(free),
            mib(needed)
        );
    }
    Ok(())
}
