//! The way to the API server as the person who runs the command.

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

/// How long a connection may take where nobody says.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// A client, who it speaks for and where it looks.
pub struct Session {
    /// The client.
    pub client: Client,
    /// What is printed on.
    pub screen: Screen,
    /// The flags.
    pub flags: Flags,
    namespace: String,
    server: String,
    exec: Option<ExecConfig>,
    unasked: bool,
    me: OnceCell<Me>,
    /// Where requests can be listed.
    pub readable: Readable,
}

/// The namespaces in which requests can be listed by those who may not list the whole cluster, as far as one run of a command knows them.
/// `readable.rs` finds them.
#[derive(Debug, Default)]
pub struct Readable {
    pub(super) namespaces: OnceCell<Vec<String>>,
    pub(super) is_told: AtomicBool,
}

impl Readable {
    /// True where the API server has refused a list of the whole cluster in this run.
    #[must_use]
    pub fn is_narrow(&self) -> bool {
        self.namespaces.initialized()
    }
}

/// Who the API server thinks that this is.
#[derive(Clone, Debug)]
pub struct Me {
    /// As it says itself.
    pub info: UserInfo,
    /// The same as the rules see it: all groups and extras, of which a stamp holds only those that matter.
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
    /// A session by the flags. Nothing is sent yet, but the credential plugin is run.
    pub async fn open(flags: Flags, screen: Screen) -> Result<Self, Problem> {
        let target = target(&flags)?;
        Self::with(target, flags, screen, false).await
    }

    /// A session of which nobody is asked anything, such as for a new sign-in: nobody expects a question from a shell's prompt. Nor may it
    /// use a refresh token up, which a sign-in that is broken off would do: credential plugins run only where the person has said that
    /// they may.
    pub async fn open_unasked(flags: Flags, screen: Screen) -> Result<Self, Problem> {
        let mut target = target(&flags)?;
        if target.exec.is_some() && !may_run_unasked() {
            return Err(Problem::Kubeconfig(format!("the credential plugin is not run for this, unless ${RUN_UNASKED} is true")));
        }
        if let Some(provider) = &mut target.config.auth_info.auth_provider {
            provider.config.remove("refresh-token");
        }
        Self::with(target, Flags { non_interactive: true, ..flags }, screen, true).await
    }

    async fn with(target: Target, flags: Flags, screen: Screen, unasked: bool) -> Result<Self, Problem> {
        let (namespace, server) = (target.config.default_namespace.clone(), address::shown(&target.config.cluster_url));
        let exec = target.exec.clone();
        let client = connect(target, stdin(&flags)).await?;
        Ok(Self { client, screen, flags, namespace, server, exec, unasked, me: OnceCell::new(), readable: Readable::default() })
    }

    /// Signs in anew: the kubeconfig is read again and its credential plugin asked again.
    pub async fn sign_in_again(&mut self) -> Result<(), Problem> {
        self.client = connect(target(&self.flags)?, stdin(&self.flags)).await?;
        self.me = OnceCell::new();
        self.readable = Readable::default();
        Ok(())
    }

    /// Tells the one command that comes next, for the same cluster and person.
    pub fn next(&self, command: &str) {
        let flags: Vec<String> = self.flags.cluster_and_person().iter().map(|flag| format!(" {}", quoted(flag))).collect();
        self.screen.next(&format!("{command}{}", flags.concat()));
    }

    /// True for a session that a shell runs by itself.
    #[must_use]
    pub const fn is_unasked(&self) -> bool {
        self.unasked
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

    /// The one namespace that the command is about.
    pub fn namespace(&self) -> Result<String, Problem> {
        match self.flags.namespaces.as_slice() {
            [] => Ok(self.namespace.clone()),
            [one] => Ok(one.clone()),
            _ => Err(Problem::Usage("-n was given more than once, and this command is about one namespace".to_owned())),
        }
    }

    /// The namespaces that the command is about, each once.
    #[must_use]
    pub fn namespaces(&self) -> Vec<String> {
        let mut seen = std::collections::BTreeSet::new();
        let named: Vec<String> = self.flags.namespaces.iter().filter(|name| seen.insert((*name).clone())).cloned().collect();
        if named.is_empty() { vec![self.namespace.clone()] } else { named }
    }

    /// Objects of a kind in a namespace. A name that cannot be one is told here and never becomes part of a path (T26).
    pub fn api<K>(&self, namespace: &str) -> Result<Api<K>, Problem>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        valid_name("namespace", namespace)?;
        Ok(Api::namespaced(self.client.clone(), namespace))
    }

    /// Who the API server thinks that this is.
    pub async fn me(&self) -> Result<&Me, Problem> {
        self.me
            .get_or_try_init(|| async {
                let api: Api<SelfSubjectReview> = Api::all(self.client.clone());
                let review = api.create(&PostParams::default(), &SelfSubjectReview::default()).await;
                let review = review.map_err(|error| Problem::of("ask who you are", &error))?;
                Ok(Me::of(review.status.and_then(|status| status.user_info).unwrap_or_default()))
            })
            .await
    }

    /// Awaits several answers, a few at a time, in their order.
    pub async fn each<T, R>(&self, things: Vec<T>, ask: impl AsyncFn(T) -> R) -> Vec<R> {
        futures::stream::iter(things).map(|thing| ask(thing)).buffered(AT_ONCE).collect().await
    }
}

/// Calls on their way at the same time.
const AT_ONCE: usize = 8;

/// The refusal of what cannot be the name of an object.
pub fn valid_name(what: &str, name: &str) -> Result<(), Problem> {
    if names::is_object_name(name) {
        return Ok(());
    }
    let shown = api::text::printable(&name.chars().take(80).collect::<String>());
    Err(Problem::Usage(format!("'{shown}' is no name of a {what}: lower case letters, digits, '-' and '.'")))
}

/// Says that completion and a shell's prompt may run the credential plugin.
const RUN_UNASKED: &str = "KUBECTL_JIT_RUN_CREDENTIAL_PLUGIN";

fn may_run_unasked() -> bool {
    std::env::var(RUN_UNASKED).is_ok_and(|value| matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes"))
}

/// Who is there for the questions of a credential plugin.
fn stdin(flags: &Flags) -> Stdin {
    if !flags.non_interactive && std::io::stdin().is_terminal() { Stdin::Person } else { Stdin::Nobody }
}

/// It runs the kubeconfig's credential plugin, which may take as long as a sign-in does. On a thread of its own, so that who has waited
/// long enough can go on.
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
        // Without any file, as kubectl: what the flags say, or the pod's own account.
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

/// No kubeconfig is where one is looked for.
fn nowhere() -> Problem {
    let looked: Vec<String> = kubeconfig::paths().iter().map(|path| format!("'{}'", path.display())).collect();
    let named = if std::env::var_os("KUBECONFIG").is_some_and(|paths| !paths.is_empty()) { "$KUBECONFIG names " } else { "" };
    Problem::Kubeconfig(format!("{named}{}: no such file; name one with --kubeconfig or $KUBECONFIG", looked.join(", ")))
}

/// In whose name calls are made, where flags say so.
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
