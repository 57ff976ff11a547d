//! Paths in the checkout.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::environment;

#[derive(Clone)]
pub struct Workspace {
    pub root: PathBuf,
}

impl Workspace {
    /// The checkout this program belongs to.
    pub fn find() -> Result<Self> {
        let here = environment::manifest_dir();
        let root = here.ancestors().nth(2).context("the crate is expected in infra/xtask")?;
        Ok(Self { root: root.to_owned() })
    }

    /// The directory for all that a stage makes: tools, data, logs. Nothing is written outside the checkout.
    pub fn local(&self) -> PathBuf {
        self.root.join(".local")
    }

    /// The pinned tools and scripts of the stage.
    pub fn pinned(&self) -> PathBuf {
        self.root.join("infra/local")
    }

    pub fn template(&self) -> PathBuf {
        self.root.join("template.yaml")
    }

    /// A binary of the stage build.
    pub fn binary(&self, name: &str) -> PathBuf {
        let target = environment::target_dir().unwrap_or_else(|| PathBuf::from("target"));
        self.root.join(target).join("stage").join(name)
    }

    /// The binary that `template.yaml` deploys for a function. The path is part of the template, so it does not follow cargo's build
    /// directory.
    pub fn bootstrap(&self, function: &str) -> PathBuf {
        self.root.join("target/lambda").join(function).join("bootstrap")
    }

    /// The directories under `functions/`: each is a package, a binary and a Lambda function of that name.
    pub fn functions(&self) -> Result<Vec<String>> {
        let dir = self.root.join("functions");
        let mut names = Vec::new();
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
            let entry = entry?;
            if entry.path().join("Cargo.toml").exists() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}
