//! The Python tools: virtual environments under `.local/`, from files that pin every package with its hash.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::environment;
use crate::files;
use crate::lock;
use crate::progress;
use crate::workspace::Workspace;

/// A virtual environment and the file that pins its packages.
pub struct Tools {
    dir: PathBuf,
    requirements: PathBuf,
    stamp: String,
}

impl Tools {
    /// MiniStack, SAM, the MongoDB server, and the packages of the issuer of identity tokens.
    pub fn of_stage(workspace: &Workspace) -> Result<Self> {
        Self::new(workspace, "tools", "requirements-stage.txt")
    }

    /// The linters of `cargo xtask check`.
    pub fn of_check(workspace: &Workspace) -> Result<Self> {
        Self::new(workspace, "check-tools", "requirements-check.txt")
    }

    /// SAM, and cargo-lambda, which builds for AWS's processors.
    pub fn of_delivery(workspace: &Workspace) -> Result<Self> {
        Self::new(workspace, "delivery-tools", "requirements-delivery.txt")
    }

    fn new(workspace: &Workspace, name: &str, requirements: &str) -> Result<Self> {
        let requirements = workspace.pinned().join(requirements);
        // The scripts beside it run with these tools: a server that runs one must start anew when it changes.
        let mut content = Vec::new();
        let scripts = ["ministack_stage.py", "openid_issuer.py"].map(|script| workspace.pinned().join(script));
        for file in scripts.iter().chain([&requirements]) {
            content.extend(fs::read(file).with_context(|| format!("cannot read {}", file.display()))?);
        }
        // Installed programs hold their own path: the real one, for `.local` may be a link.
        let local = workspace.local();
        let dir = local.canonicalize().unwrap_or(local).join(name);
        Ok(Self { dir, requirements, stamp: files::fingerprint(&content) })
    }

    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join("bin").join(name)
    }

    /// Turns off SAM's telemetry, its use of the home directory, and its weekly look for newer versions in the package index: it is
    /// pinned.
    pub fn isolate_sam(&self, command: &mut Command) -> Result<()> {
        let dir = self.dir.join("sam");
        files::create_dir(&dir)?;
        // The end of the century. A whole number would not do: SAM accepts only a float as a time.
        let far_future = 4_102_444_800.0;
        let metadata =
            json!({"installationId": "00000000-0000-4000-8000-000000000000", "lastVersionCheck": far_future});
        files::write_private(&dir.join("metadata.json"), &metadata.to_string())?;
        command.env("__SAM_CLI_APP_DIR", dir).env("SAM_CLI_TELEMETRY", "0");
        Ok(())
    }

    /// The search path of a program that calls others of these tools.
    pub fn path(&self) -> OsString {
        let mut path = self.dir.join("bin").into_os_string();
        path.push(":");
        path.push(environment::path());
        path
    }

    /// The version of all that is in the environment.
    pub fn stamp(&self) -> &str {
        &self.stamp
    }

    pub fn is_installed(&self) -> bool {
        let pins = files::fingerprint_of_file(&self.requirements).ok();
        fs::read_to_string(self.stamp_file()).ok() == pins
    }

    fn stamp_file(&self) -> PathBuf {
        self.dir.join("installed")
    }

    /// Makes the environment from nothing, unless another run has done so meanwhile. The stamp is written last, so that an
    /// interrupted run is repeated.
    pub fn install(&self, workspace: &Workspace) -> Result<()> {
        let _lock = lock::hold(workspace, "tools")?;
        if self.is_installed() {
            return Ok(());
        }
        files::remove_dir(&self.dir)?;
        files::create_dir(&self.dir)?;
        self.run(Command::new("python3").args(["-m", "venv"]).arg(&self.dir))?;
        // The file holds the whole closure, so there is nothing to resolve. Compiling all modules now takes longer than
        // compiling the imported ones at run time.
        let mut pip = Command::new(self.program("python"));
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--no-compile",
            "--no-cache-dir",
        ]);
        self.run(pip.args(["--require-hashes", "--only-binary", ":all:", "--requirement"]).arg(&self.requirements))?;
        fs::write(self.stamp_file(), files::fingerprint_of_file(&self.requirements)?)?;
        Ok(())
    }

    fn run(&self, command: &mut Command) -> Result<()> {
        let log_path = self.dir.join("install.log");
        let log = fs::OpenOptions::new().create(true).append(true).open(&log_path)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let status = progress::run(command, "Python tools: downloading and unpacking")?;
        if !status.success() {
            bail!(
                "the Python tools could not be installed ({status})\n  log: {}\n{}  check the network and the disk, \
                 then run the command again",
                log_path.display(),
                files::tail(&log_path, 12)
            );
        }
        Ok(())
    }
}
