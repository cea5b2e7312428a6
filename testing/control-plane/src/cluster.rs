use std::fs::{self, File};
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use kube::config::{KubeConfigOptions, Kubeconfig};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{ADMIN, AuditLog, Binaries, Error, Result, SignIn, User, issuer};

/// Access to a control plane, without the right to end it. It can be cloned, and stored for another process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cluster {
    pub(crate) directory: PathBuf,
    pub(crate) server: String,
    pub(crate) users: Vec<User>,
    pub(crate) binaries: Binaries,
}

/// The result of a command.
#[derive(Clone, Debug)]
pub struct Said {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    command: String,
}

impl Said {
    /// Returns its standard output, or an error with its output if it failed.
    pub fn ok(self) -> Result<String> {
        if self.status.success() {
            return Ok(self.stdout);
        }
        let output = [self.stderr.trim(), self.stdout.trim()].join("\n").trim().to_owned();
        Err(Error::Command { command: self.command, output })
    }

    /// Returns the error output of a denied command, or an error if it succeeded.
    pub fn refused(self) -> Result<String> {
        if self.status.success() {
            let output = format!("it succeeded, but should have been refused: {}", self.stdout.trim());
            return Err(Error::Command { command: self.command, output });
        }
        Ok(self.stderr)
    }
}

impl Cluster {
    /// Returns the directory of the control plane's files; tests may store files there as well.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the API server's address.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Returns the programs that it runs on.
    #[must_use]
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// Returns its users other than [`ADMIN`].
    #[must_use]
    pub fn users(&self) -> &[User] {
        &self.users
    }

    /// Returns the audit log from its beginning.
    #[must_use]
    pub fn audit(&self) -> AuditLog {
        AuditLog::from_start(self.directory.join("audit.log"))
    }

    /// Returns the audit log from now on.
    pub fn audit_from_now(&self) -> Result<AuditLog> {
        AuditLog::from_now(self.directory.join("audit.log"))
    }

    /// Returns the file with one context per user; [`ADMIN`] is the current one.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.join("kubeconfig")
    }

    /// Writes a file with one user and context only.
    pub fn kubeconfig_of(&self, user: &str) -> Result<PathBuf> {
        self.write_one(user, &self.credentials(user)?)
    }

    /// Writes a file for a bearer token, such as a ServiceAccount's. `name` names file and context.
    pub fn kubeconfig_for_token(&self, name: &str, token: &str) -> Result<PathBuf> {
        self.write_one(name, &json!({ "token": token }))
    }

    /// Writes a file for a bearer token and another API server address, such as that of a [`crate::Proxy`].
    pub fn kubeconfig_through(&self, server: &str, name: &str, token: &str) -> Result<PathBuf> {
        Self { server: server.to_owned(), ..self.clone() }.kubeconfig_for_token(name, token)
    }

    /// Returns an anonymous client configuration, for a proxy that forwards the credentials of others.
    pub(crate) async fn without_credentials(&self) -> Result<kube::Config> {
        config(self.config("nobody", &[("nobody".to_owned(), json!({}))])?).await
    }

    /// Returns a client for the admin or a user by name.
    pub async fn client(&self, user: &str) -> Result<kube::Client> {
        let credentials = self.credentials(user)?;
        client(self.config(user, &[(user.to_owned(), credentials)])?).await
    }

    /// Returns a client for a bearer token.
    pub async fn client_for_token(&self, token: &str) -> Result<kube::Client> {
        client(self.config("token", &[("token".to_owned(), json!({ "token": token }))])?).await
    }

    /// Signs in a user who is not one of the control plane's users. Returns an ID token, for [`Cluster::kubeconfig_for_token`] and
    /// [`Cluster::client_for_token`].
    pub fn sign_in(&self, who: &SignIn) -> Result<String> {
        issuer::id_token(who, &issuer::read_key(&self.pki())?)
    }

    /// Returns the same token, signed with an unknown key.
    pub fn forge(&self, who: &SignIn) -> Result<String> {
        issuer::id_token(who, &issuer::new_key()?)
    }

    /// Returns kubectl as a user. It does not read the developer's own configuration, and is killed with the command.
    pub fn kubectl(&self, user: &str) -> Result<Command> {
        self.command(&self.binaries.kubectl, &self.kubeconfig_of(user)?)
    }

    /// Returns another program as a user, with kubectl on its PATH: such as a plugin of kubectl.
    pub fn program(&self, user: &str, program: &Path) -> Result<Command> {
        let mut command = self.command(program, &self.kubeconfig_of(user)?)?;
        let beside = [program, self.binaries.kubectl.as_path()].into_iter().filter_map(Path::parent);
        let beside = beside.filter(|directory| !directory.as_os_str().is_empty()).map(Path::to_owned);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(beside.chain(std::env::split_paths(&path))).map_err(|error| Error::State(error.to_string()))?;
        command.env("PATH", path).env("TZ", "UTC").env_remove("NO_COLOR").env("TERM", "xterm");
        Ok(command)
    }

    /// Runs another program as a user and waits for it.
    pub async fn run_program(&self, user: &str, program: &Path, args: &[&str], input: Option<&str>) -> Result<Said> {
        let mut command = self.program(user, program)?;
        run(command.args(args), input).await
    }

    /// Returns Helm as the admin, with its own caches.
    pub fn helm(&self) -> Result<Command> {
        let mut command = self.command(&self.binaries.helm, &self.kubeconfig_of(ADMIN)?)?;
        for kind in ["CACHE", "CONFIG", "DATA"] {
            command.env(format!("HELM_{kind}_HOME"), self.home().join("helm").join(kind));
        }
        Ok(command)
    }

    /// Runs Helm as the admin and waits for it.
    pub async fn run_helm(&self, args: &[&str]) -> Result<Said> {
        let mut command = self.helm()?;
        run(command.args(args), None).await
    }

    /// Runs kubectl as a user and waits for it.
    pub async fn run(&self, user: &str, args: &[&str]) -> Result<Said> {
        let mut command = self.kubectl(user)?;
        run(command.args(args), None).await
    }

    /// Runs kubectl as a user with a manifest on its standard input; the arguments need `-f -`.
    pub async fn run_with(&self, user: &str, args: &[&str], manifest: &str) -> Result<Said> {
        let mut command = self.kubectl(user)?;
        run(command.args(args), Some(manifest)).await
    }

    /// Runs `kubectl apply` of a manifest as a user.
    pub async fn apply(&self, user: &str, manifest: &str) -> Result<Said> {
        self.run_with(user, &["apply", "-f", "-"], manifest).await
    }

    /// Writes the kubeconfigs of the admin and of all users.
    pub(crate) fn write_kubeconfigs(&self) -> Result<()> {
        fs::create_dir_all(self.home()).map_err(Error::path("create", &self.home()))?;
        let names = std::iter::once(ADMIN).chain(self.users.iter().map(|user| user.name.as_str()));
        let all = names.map(|name| Ok((name.to_owned(), self.credentials(name)?))).collect::<Result<Vec<_>>>()?;
        self.write(&self.kubeconfig(), ADMIN, &all)
    }

    /// Writes a kubeconfig for a client certificate in the directory of certificates: `controller-manager`, `scheduler`, `kube-proxy` or
    /// `kubelet`.
    pub fn kubeconfig_for_certificate(&self, name: &str) -> Result<PathBuf> {
        self.write_one(name, &self.certificate(name))
    }

    fn certificate(&self, name: &str) -> Value {
        let pki = self.pki();
        json!({
            "client-certificate": pki.join(format!("{name}.crt")),
            "client-key": pki.join(format!("{name}.key")),
        })
    }

    fn credentials(&self, user: &str) -> Result<Value> {
        if user == ADMIN {
            return Ok(self.certificate(ADMIN));
        }
        let found = self.users.iter().find(|known| known.name == user);
        found.map(|known| json!({ "token": known.token })).ok_or_else(|| Error::UnknownUser {
            name: user.to_owned(),
            known: std::iter::once(ADMIN).chain(self.users.iter().map(|known| known.name.as_str())).collect::<Vec<_>>().join(", "),
        })
    }

    fn write_one(&self, name: &str, credentials: &Value) -> Result<PathBuf> {
        let path = self.directory.join("kubeconfigs").join(name);
        self.write(&path, name, &[(name.to_owned(), credentials.clone())])?;
        Ok(path)
    }

    fn write(&self, path: &Path, current: &str, users: &[(String, Value)]) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.config(current, users)?)?;
        if fs::read_to_string(path).is_ok_and(|present| present == text) {
            return Ok(());
        }
        write_whole(path, &text)
    }

    fn config(&self, current: &str, users: &[(String, Value)]) -> Result<Value> {
        if current.is_empty() || current.contains('/') {
            return Err(Error::State(format!("`{current}` is not a valid context name")));
        }
        let contexts: Vec<_> = users.iter().map(|(name, _)| json!({"name": name, "context": {"cluster": "plane", "user": name}})).collect();
        let users: Vec<_> = users.iter().map(|(name, user)| json!({"name": name, "user": user})).collect();
        let cluster = json!({"server": self.server, "certificate-authority": self.pki().join("ca.crt")});
        Ok(json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": current,
            "clusters": [{"name": "plane", "cluster": cluster}],
            "contexts": contexts,
            "users": users,
        }))
    }

    fn command(&self, program: &Path, kubeconfig: &Path) -> Result<Command> {
        let home = self.home();
        fs::create_dir_all(&home).map_err(Error::path("create", &home))?;
        let mut command = Command::new(program);
        command
            .env("HOME", &home)
            .env("KUBECONFIG", kubeconfig)
            .env("KUBECACHEDIR", home.join("kube-cache"))
            .env("KUBERC", "off")
            .env_remove("XDG_CACHE_HOME")
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_DATA_HOME")
            .kill_on_drop(true);
        Ok(command)
    }

    /// Returns the directory of certificates and keys.
    #[must_use]
    pub fn pki(&self) -> PathBuf {
        self.directory.join("pki")
    }

    fn home(&self) -> PathBuf {
        self.directory.join("home")
    }
}

/// Writes a file with access for this user only, atomically, since other processes may be reading it.
pub(crate) fn write_whole(path: &Path, text: &str) -> Result<()> {
    let failed = || Error::path("write", path);
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory).map_err(failed())?;
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed())?;
    file.write_all(text.as_bytes()).map_err(failed())?;
    file.persist(path).map_err(|error| failed()(error.error))?;
    Ok(())
}

async fn client(kubeconfig: Value) -> Result<kube::Client> {
    Ok(kube::Client::try_from(config(kubeconfig).await?)?)
}

async fn config(kubeconfig: Value) -> Result<kube::Config> {
    let kubeconfig: Kubeconfig = serde_json::from_value(kubeconfig)?;
    Ok(kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)
}

/// Runs a command and waits for it.
pub(crate) async fn run(command: &mut Command, input: Option<&str>) -> Result<Said> {
    let line = line(command);
    let stdin = match input {
        Some(text) => Stdio::from(file_with(text).map_err(Error::io("write a temporary file"))?),
        None => Stdio::null(),
    };
    let output = command.stdin(stdin).output().await.map_err(Error::io(line.clone()))?;
    Ok(Said {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        command: line,
    })
}

/// Returns an anonymous file with this text, positioned at its beginning.
fn file_with(text: &str) -> std::io::Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// Returns the command line as a user would type it.
fn line(command: &Command) -> String {
    let command = command.as_std();
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    std::iter::once(program).chain(command.get_args()).map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
