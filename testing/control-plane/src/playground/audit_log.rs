//! The audit log of `make up` and `make demo`: its key, and the process that writes it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::programs::program;
use crate::{Error, OperatorOptions, Result, ServiceOptions};

/// An audit log in a folder.
#[derive(Clone, Debug)]
pub struct AuditLog {
    /// The folder.
    pub log: PathBuf,
    /// The file with its public key.
    pub key: PathBuf,
}

impl AuditLog {
    /// Returns the audit log in a directory, and creates its key the first time.
    pub fn prepare(directory: &Path) -> Result<Self> {
        let place = directory.join("audit-log");
        let (keys, key) = (place.join("keys"), place.join("record.pub"));
        if !key.is_file() {
            fs::create_dir_all(&keys).map_err(Error::path("create", &keys))?;
            let mut create = Command::new(program("kubectl-jit")?);
            let made = create.args(["record", "create-key", "jit-rbac.example.com", "-f"]).arg(keys.join("key")).output();
            let made = made.map_err(Error::path("create", &keys))?;
            if !made.status.success() {
                return Err(Error::State(format!("cannot create the key of the audit log: {}", String::from_utf8_lossy(&made.stderr))));
            }
            fs::write(&key, made.stdout).map_err(Error::path("write", &key))?;
        }
        Ok(Self { log: place.join("log"), key })
    }

    /// Runs a subcommand of `kubectl jit record` on it, and returns what it prints.
    pub fn read(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new(program("kubectl-jit")?);
        command.arg("record").args(args).arg("--log").arg(&self.log).arg("--key").arg(&self.key);
        let output = command.output().map_err(Error::path("read", &self.log))?;
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if output.status.success() { Ok(text) } else { Err(Error::State(text)) }
    }

    /// Adds the record to the options of an operator.
    pub fn add_to(&self, options: &mut OperatorOptions) {
        let keys = self.key.with_file_name("keys");
        options.values = json!({"record": {"enabled": true, "keySecret": "record-key"}});
        options.services.push(ServiceOptions {
            name: "record".to_owned(),
            settings: json!({"url": self.log, "keys": keys}),
            env: Vec::new(),
            unready: false,
            reads_rules: true,
        });
    }
}
