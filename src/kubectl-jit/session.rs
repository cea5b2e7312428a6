//! The connection to the API server with the credentials of the user.

use std::{collections::HashMap, io::IsTerminal as _, sync::atomic::AtomicBool, time::Duration};

use futures::StreamExt;
use k8s_openapi::api::authentication::v1::{SelfSubjectReview, UserInfo};
use kube::{
    Api, Client, Config,
    api::PostParams,
    client::ClientBuilder,
    config::{AuthInfo, ExecConfig, Kubeconfig},
};
use tokio::sync::OnceCell;

use super::{
    flags::{Flags, quoted},
    problem::Problem,
    screen::Screen,
};
use api::{Line, Stamp, names};
use kube_io::{
    client::{
        self, ClientError, Stdin, address,
        kubeconfig::{self, Target, Wanted},
    },
    errors::one_line,
};

/// The default timeout of a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// A client with its user and its namespaces.
pub struct Session {
    /// The client.
    pub client: Client,
    /// The output.
    pub screen: Screen,
    /// The flags.
    pub flags: Flags,
    namespace: String,
    server: String,
    exec: Option<ExecConfig>,
    noninteractive: bool,
    me: OnceCell<Me>,
    /// The namespaces in which a user without cluster-wide permission can list requests.
    pub readable: Readable,
}

/// The known namespaces in one run of a command. `readable.rs` finds them.
#[derive(Debug, Default)]
pub struct Readable {
    pub(super) namespaces: OnceCell<Vec<String>>,
    pub(super) is_reported: AtomicBool,
}

impl Readable {
    /// True if the API server has denied a list of the whole cluster in this run.
    #[must_use]
    pub fn is_narrow(&self) -> bool {
        self.namespaces.initialized()
    }
}

/// The user as the API server authenticated it.
#[derive(Clone, Debug)]
pub struct Me {
    /// The response of the API server.
    pub info: UserInfo,
    /// The same as input of the rules, with all groups and extra attributes; a stored request has only the relevant ones.
    pub stamp: Stamp,
}

impl Me {
    fn of(info: UserInfo) -> Self {
        fn line<const MAX: usize>(text: &str) -> Option<Line<MAX>> {
            Line::try_from(text.to_owned()).ok()
        }
        let stamp = Stamp {
            username: info.username.as_deref().and_then(line).unwrap_or_default(),
            uid: info.uid.as_deref().filter(|uid| !uid.is_empty()).and_then(line),
            groups: info.groups.iter().flatten().filter_map(|group| line(group)).collect(),
            extra: info.extra.clone().unwrap_or_default(),
        };
        Self { info, stamp }
    }

    /// The user name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.stamp.username.as_str()
    }
}

impl Session {
    /// Opens a session. Sends nothing yet, but runs the credential plugin.
    pub async fn open(flags: Flags, screen: Screen) -> Result<Self, Problem> {
        let target = target(&flags)?;
        Self::with(target, flags, screen, false).await
    }

    /// Opens a session without prompts, for a shell prompt and completion. It must not use up a refresh token, which an interrupted sign-in
    /// would do: credential plugins run only if the user has allowed it.
    pub async fn open_noninteractive(flags: Flags, screen: Screen) -> Result<Self, Problem> {
        let mut target = target(&flags)?;
        if target.exec.is_some() && !may_run_noninteractive() {
            return Err(Problem::Kubeconfig(format!("the credential plugin is not run here unless ${RUN_NONINTERACTIVE} is true")));
        }
        if let Some(provider) = &mut target.config.auth_info.auth_provider {
            provider.config.remove("refresh-token");
        }
        Self::with(target, Flags { non_interactive: true, ..flags }, screen, true).await
    }

    async fn with(target: Target, flags: Flags, screen: Screen, noninteractive: bool) -> Result<Self, Problem> {
        let (namespace, server) = (target.config.default_namespace.clone(), address::shown(&target.config.cluster_url));
        let exec = target.exec.clone();
        let client = connect(target, stdin(&flags)).await?;
        Ok(Self { client, screen, flags, namespace, server, exec, noninteractive, me: OnceCell::new(), readable: Readable::default() })
    }

    /// Signs in again: reads the kubeconfig and runs its credential plugin again.
    pub async fn sign_in_again(&mut self) -> Result<(), Problem> {
        self.client = connect(target(&self.flags)?, stdin(&self.flags)).await?;
        self.me = OnceCell::new();
        self.readable = Readable::default();
        Ok(())
    }

    /// Prints the next command, for the same cluster and user.
    pub fn next(&self, command: &str) {
        let flags: Vec<String> = self.flags.cluster_and_user().iter().map(|flag| format!(" {}", quoted(flag))).collect();
        self.screen.next(&format!("{command}{}", flags.concat()));
    }

    /// True for a session of a shell prompt or completion.
    #[must_use]
    pub const fn is_noninteractive(&self) -> bool {
        self.noninteractive
    }

    /// The address of the API server.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The credential plugin of the kubeconfig, if it has one.
    #[must_use]
    pub const fn credential_plugin(&self) -> Option<&ExecConfig> {
        self.exec.as_ref()
    }

    /// The namespace of a command that supports only one.
    pub fn namespace(&self) -> Result<String, Problem> {
        match self.flags.namespaces.as_slice() {
            [] => Ok(self.namespace.clone()),
            [one] => Ok(one.clone()),
            _ => Err(Problem::Usage("-n was given more than once, but this command supports one namespace only".to_owned())),
        }
    }

    /// The namespaces of the command, without duplicates.
    #[must_use]
    pub fn namespaces(&self) -> Vec<String> {
        let mut seen = std::collections::BTreeSet::new();
        let named: Vec<String> = self.flags.namespaces.iter().filter(|name| seen.insert((*name).clone())).cloned().collect();
        if named.is_empty() { vec![self.namespace.clone()] } else { named }
    }

    /// The API of a kind in a namespace. An invalid name is an error here and never becomes part of a path (T26).
    pub fn api<K>(&self, namespace: &str) -> Result<Api<K>, Problem>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        valid_name("namespace", namespace)?;
        Ok(Api::namespaced(self.client.clone(), namespace))
    }

    /// The user as the API server authenticated it.
    pub async fn me(&self) -> Result<&Me, Problem> {
        self.me
            .get_or_try_init(|| async {
                let api: Api<SelfSubjectReview> = Api::all(self.client.clone());
                let review = api.create(&PostParams::default(), &SelfSubjectReview::default()).await;
                let review = review.map_err(|error| Problem::of("look up your user name", &error))?;
                Ok(Me::of(review.status.and_then(|status| status.user_info).unwrap_or_default()))
            })
            .await
    }

    /// Awaits several responses in their order, with limited concurrency.
    pub async fn each<T, R>(&self, things: Vec<T>, ask: impl AsyncFn(T) -> R) -> Vec<R> {
        futures::stream::iter(things).map(|thing| ask(thing)).buffered(AT_ONCE).collect().await
    }
}

/// The maximum number of concurrent calls.
const AT_ONCE: usize = 8;

/// Checks the name of an object.
pub fn valid_name(what: &str, name: &str) -> Result<(), Problem> {
    if names::is_object_name(name) {
        return Ok(());
    }
    let shown = api::text::printable(&name.chars().take(80).collect::<String>());
    Err(Problem::Usage(format!("invalid {what} name '{shown}': use lower case letters, digits, '-' and '.'")))
}

/// Allows completion and a shell prompt to run the credential plugin.
const RUN_NONINTERACTIVE: &str = "KUBECTL_JIT_RUN_CREDENTIAL_PLUGIN";

fn may_run_noninteractive() -> bool {
    std::env::var(RUN_NONINTERACTIVE).is_ok_and(|value| matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes"))
}

/// The standard input of the credential plugin.
fn stdin(flags: &Flags) -> Stdin {
    if !flags.non_interactive && std::io::stdin().is_terminal() { Stdin::Person } else { Stdin::Nobody }
}

/// Builds the client, which runs the kubeconfig's credential plugin. On a separate thread, since a sign-in can take long and a timeout must
/// still work.
async fn connect(target: Target, stdin: Stdin) -> Result<Client, Problem> {
    let connected = tokio::task::spawn_blocking(move || client::builder(target, stdin).map(ClientBuilder::build)).await;
    let connected = connected.map_err(|error| Problem::Kubeconfig(one_line(&error)))?;
    connected.map_err(|error| match error {
        ClientError::Credential(error) => Problem::SignIn(error.to_string()),
        ClientError::Config(why) => Problem::Kubeconfig(why),
    })
}

fn target(flags: &Flags) -> Result<Target, Problem> {
    let wanted = Wanted {
        context: flags.context.as_deref(),
        cluster: flags.cluster.as_deref(),
        user: flags.user.as_deref(),
        server: flags.server.as_deref(),
        insecure: flags.insecure_skip_tls_verify,
        tls_server_name: flags.tls_server_name.as_deref(),
        certificate_authority: flags.certificate_authority.as_deref(),
        client_certificate: flags.client_certificate.as_deref(),
        client_key: flags.client_key.as_deref(),
        token: flags.token.as_deref(),
    };
    let found = match &flags.kubeconfig {
        Some(path) => kubeconfig::file_at(path).map(Some),
        None => kubeconfig::files(),
    };
    let mut target = match found.map_err(Problem::Kubeconfig)? {
        Some(found) => kubeconfig::resolve(&found, wanted).map_err(Problem::Kubeconfig)?,
        // Without any file, like kubectl: the flags, or the ServiceAccount of the pod.
        None if flags.server.is_some() => kubeconfig::resolve(&Kubeconfig::default(), wanted).map_err(Problem::Kubeconfig)?,
        None => {
            let named = flags.context.is_some() || flags.cluster.is_some() || flags.user.is_some();
            let pod = if named { None } else { Config::incluster().ok() };
            Target { config: pod.ok_or_else(nowhere)?, exec: None }
        }
    };
    let config = &mut target.config;
    config.connect_timeout = Some(CONNECT_WITHIN);
    config.read_timeout = (!flags.request_timeout.is_zero()).then_some(flags.request_timeout);
    config.reset_reader_on_write = true;
    let agent = format!("kubectl-jit/{}", env!("CARGO_PKG_VERSION"));
    if let Ok(agent) = http::HeaderValue::from_str(&agent) {
        config.headers.push((http::header::USER_AGENT, agent));
    }
    impersonate(&mut config.auth_info, flags)?;
    Ok(target)
}

/// The error of a missing kubeconfig.
fn nowhere() -> Problem {
    let looked: Vec<String> = kubeconfig::paths().iter().map(|path| format!("'{}'", path.display())).collect();
    let named = if std::env::var_os("KUBECONFIG").is_some_and(|paths| !paths.is_empty()) { "$KUBECONFIG names " } else { "" };
    Problem::Kubeconfig(format!("{named}{}: no such file; name one with --kubeconfig or $KUBECONFIG", looked.join(", ")))
}

/// Applies the impersonation flags.
fn impersonate(auth: &mut AuthInfo, flags: &Flags) -> Result<(), Problem> {
    let Some(user) = &flags.act_as else {
        if flags.act_as_groups.is_empty() && flags.act_as_uid.is_none() && flags.act_as_extra.is_empty() {
            return Ok(());
        }
        return Err(Problem::Usage("--as-group, --as-uid and --as-user-extra need --as".to_owned()));
    };
    let mut extra: HashMap<String, Vec<String>> = HashMap::new();
    for (key, value) in &flags.act_as_extra {
        extra.entry(key.clone()).or_default().push(value.clone());
    }
    auth.impersonate = Some(user.clone());
    auth.impersonate_groups = (!flags.act_as_groups.is_empty()).then(|| flags.act_as_groups.clone());
    auth.impersonate_uid.clone_from(&flags.act_as_uid);
    auth.impersonate_user_extra = (!extra.is_empty()).then_some(extra);
    Ok(())
}
