//! The stage that the tests run against.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use serde_json::Value;
use shared::contract::{Resource, ResourceContext};
use ureq::Agent;

/// The addresses of the stage.
pub struct Stage {
    /// `HOST:PORT` of the API: never resolved, only sent in the `Host` header.
    pub api_host: String,
    /// The same of the functions with streaming URLs, by their names.
    pub function_hosts: BTreeMap<String, String>,
    /// `http://127.0.0.1:PORT`
    pub aws_endpoint: String,
    pub access_key_id: String,
    pub region: String,
    /// The directory of its logs.
    pub logs: PathBuf,
    pub agent: Agent,
    /// The OpenAPI document.
    pub openapi: Value,
}

static STAGE: LazyLock<Stage> = LazyLock::new(Stage::open);

impl Stage {
    /// The stage of this run.
    ///
    /// # Panics
    /// Without a stage: the tests of this crate have to be run by `cargo xtask test`.
    #[must_use]
    pub fn get() -> &'static Self {
        &STAGE
    }

    fn open() -> Self {
        let file = shared::environment::required("SOUK_STAGE_FILE").expect("run these tests with `cargo xtask test`");
        let description: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        let text = |name: &str| description[name].as_str().unwrap_or_else(|| panic!("{name} in stage.json")).to_owned();
        let host = |url: &str| url.trim_start_matches("http://").to_owned();
        let urls = description["functionUrls"].as_object().expect("functionUrls in stage.json").iter();
        Self {
            api_host: host(&text("apiUrl")),
            function_hosts: urls.map(|(name, url)| (name.clone(), host(url.as_str().unwrap()))).collect(),
            aws_endpoint: text("awsEndpoint"),
            access_key_id: text("accessKeyId"),
            region: text("region"),
            logs: text("logs").into(),
            agent: Agent::new_with_config(Agent::config_builder().http_status_as_error(false).build()),
            openapi: serde_json::to_value(shared::api::document()).unwrap(),
        }
    }

    /// Opens a store or queue in this process, with the run's environment.
    ///
    /// # Panics
    /// When a variable is missing.
    #[must_use]
    pub fn resource<R: Resource>(&self) -> R {
        R::open(&ResourceContext::system()).expect("the test run's environment")
    }

    /// Runs the `tools` binary on this stage, and returns its output.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn tools(arguments: &[&str]) -> String {
        // Beside the test program, which is in `deps`.
        let this = env::current_exe().unwrap();
        let tools = this.parent().unwrap().parent().unwrap().join("tools");
        let output = Command::new(tools).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// `cargo xtask` of this run, for another checkout.
    ///
    /// # Panics
    /// When the run was not started by it.
    #[must_use]
    pub fn xtask(checkout: &Path) -> Command {
        let mut command = Command::new(shared::environment::required("SOUK_XTASK").unwrap());
        // Like cargo, it finds the checkout by its own crate's directory.
        command.env("CARGO_MANIFEST_DIR", checkout.join("infra/xtask")).current_dir(checkout);
        command
    }

    /// The `Host` of a request: the API's, or that of a streaming function.
    #[must_use]
    pub fn host(&self, method: &str, path: &str) -> &str {
        let route = shared::api::route(&format!("{method} {}", path.split('?').next().unwrap_or_default()));
        route.and_then(|route| self.function_hosts.get(route.name)).unwrap_or(&self.api_host)
    }

    /// The name of a deployed function.
    #[must_use]
    pub fn function(name: &str) -> String {
        format!("souk-local-{name}")
    }
}
