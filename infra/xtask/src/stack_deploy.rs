//! `sam deploy` of the unchanged template to the stage's AWS, and shorter ways when little or nothing changed.
//!
//! The deployed stack's fingerprint is a parameter of the local AWS itself, so that the two are lost together.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::aws::{Aws, BUCKET, StackState};
use crate::files;
use crate::process::{Process, wait_until};
use crate::progress;
use crate::servers::ministack;
use crate::stack_fingerprint::StackFingerprint;
use crate::stage::{STACK, STAGE, Stage};
use crate::tools::Tools;

/// The SSM parameter that holds the deployed stack's fingerprint.
const FINGERPRINT_PARAMETER: &str = "/xtask/deployment";
/// The alias by which queues and schedules call a function (`AutoPublishAlias` in the template).
const ALIAS: &str = "live";
const DELETE_TIMEOUT: Duration = Duration::from_mins(1);

pub struct StackDeployer<'a> {
    pub stage: &'a Stage,
    pub aws: &'a Aws,
    pub tools: &'a Tools,
}

/// A function's name on AWS.
pub fn function_name(function: &str) -> String {
    format!("souk-{STAGE}-{function}")
}

impl StackDeployer<'_> {
    /// Brings the stack up to date. `resolved` are the values that the template reads from SSM and Secrets Manager.
    pub fn run(&self, resolved: &[(String, String)]) -> Result<()> {
        let mut wanted = self.wanted(resolved)?;
        let state = self.aws.stack_state(STACK)?;
        let present = self.recorded()?.filter(|_| state == StackState::Usable);
        match present {
            Some(present) if present.is_same_stack(&wanted) => {
                let changed = present.changed(&wanted);
                if changed.is_empty() {
                    progress::note("nothing to deploy");
                    return Ok(());
                }
                wanted.patched.clone_from(&present.patched);
                wanted.patched.extend(changed.iter().filter(|name| !present.patched.contains(name)).cloned());
                progress::step(&format!("new code for {}", changed.join(", ")), || self.patch(&changed))?;
            }
            Some(present) if present.resolved == wanted.resolved => {
                self.deploy()?;
                wanted.patched = present.patched;
                wanted.patched.retain(|name| wanted.functions.contains_key(name));
                self.patch(&wanted.patched)?;
            }
            _ => {
                if state != StackState::Absent {
                    progress::step("remove the old stack", || self.delete())?;
                }
                self.deploy()?;
            }
        }
        self.aws.put_parameter(FINGERPRINT_PARAMETER, &wanted.to_text())
    }

    fn deploy(&self) -> Result<()> {
        progress::step("sam deploy", || self.sam())?;
        // Here a deployment is all at once, and new code or keys come without one as well: the alias must follow `$LATEST`.
        for function in self.stage.workspace.functions()? {
            self.aws.follow_latest(&function_name(&function), ALIAS)?;
        }
        // A function that already runs has opened its stores with the rights of its earlier role.
        Process::new(ministack::NAME, &self.stage.dir).end_children()
    }

    fn delete(&self) -> Result<()> {
        self.aws.delete_stack(STACK)?;
        let is_gone = || self.aws.stack_state(STACK).is_ok_and(|state| state == StackState::Absent);
        if !wait_until(DELETE_TIMEOUT, is_gone) {
            bail!("the old stack cannot be deleted: `cargo xtask down --purge` starts over");
        }
        Ok(())
    }

    fn wanted(&self, resolved: &[(String, String)]) -> Result<StackFingerprint> {
        let mut template = fs::read(self.stage.workspace.template()).context("cannot read template.yaml")?;
        template.extend(format!("{:?}", self.overrides()).into_bytes());
        let mut functions = BTreeMap::new();
        for function in self.stage.workspace.functions()? {
            let fingerprint = files::fingerprint_of_file(&self.stage.workspace.bootstrap(&function))?;
            functions.insert(function, fingerprint);
        }
        Ok(StackFingerprint {
            template: files::fingerprint(&template),
            resolved: files::fingerprint(format!("{resolved:?}").as_bytes()),
            functions,
            patched: Vec::new(),
        })
    }

    fn recorded(&self) -> Result<Option<StackFingerprint>> {
        Ok(self.aws.parameter(FINGERPRINT_PARAMETER)?.as_deref().and_then(StackFingerprint::of_text))
    }

    /// The machine's own architecture: its binaries run here.
    fn overrides(&self) -> Vec<String> {
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
        let fixed = [format!("Stage={STAGE}"), format!("Architecture={architecture}"), "Lab=on".to_owned()];
        fixed.into_iter().chain(self.stage.parameters.iter().cloned()).collect()
    }

    fn sam(&self) -> Result<()> {
        self.aws.create_bucket()?;
        let log_path = self.stage.logs().join("sam.log");
        let log = fs::File::create(&log_path)?;
        let mut command = self.stage.command(self.tools.program("sam"));
        self.tools.isolate_sam(&mut command)?;
        command
            .args(["deploy", "--stack-name", STACK, "--template-file", "template.yaml", "--s3-bucket", BUCKET])
            .args(["--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND", "CAPABILITY_NAMED_IAM"])
            .args(["--no-confirm-changeset", "--no-fail-on-empty-changeset", "--no-progressbar"])
            .arg("--parameter-overrides")
            .args(self.overrides())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if !progress::run(&mut command, "sam deploy")?.success() {
            bail!(
                "the deployment failed\n  log: {}\n{}  correct template.yaml or the function named there and run `up` again",
                log_path.display(),
                files::tail(&log_path, 25)
            );
        }
        Ok(())
    }

    /// Replaces the code of some functions and nothing else.
    fn patch(&self, functions: &[String]) -> Result<()> {
        if functions.is_empty() {
            return Ok(());
        }
        self.aws.create_bucket()?;
        for function in functions {
            let zip = self.zip(function)?;
            self.aws.update_code(&function_name(function), zip)?;
        }
        Ok(())
    }

    fn zip(&self, function: &str) -> Result<Vec<u8>> {
        let zip = self.stage.dir.join("tmp").join(format!("{function}.zip"));
        let python = self.stage.command(self.tools.program("python"));
        files::zip(python, &self.stage.workspace.bootstrap(function), &zip)?;
        let content = fs::read(&zip)?;
        fs::remove_file(&zip)?;
        Ok(content)
    }
}
