//! The way to the API server as the person who runs the command.

use std::{path::PathBuf, time::Duration};

use futures::StreamExt;
use k8s_openapi::api::authentication::v1::{SelfSubjectReview, UserInfo};
use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{
        AuthInfo, Cluster, Context, ExecConfig, ExecInteractiveMode, KubeConfigOptions, Kubeconfig, KubeconfigError, NamedAuthInfo,
        NamedCluster, NamedContext,
    },
};
use tokio::sync::OnceCell;

use super::{
    flags::{Flags, quoted},
    problem::Problem,
    screen::Screen,
};
use crate::{
    api::{Line, Stamp, names},
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
    me: OnceCell<Me>,
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
    /// A session by the flags. Nothing is sent yet.
    pub async fn open(flags: Flags, screen: Screen) -> Result<Self, Problem> {
        if flags.act_as.is_none() && !(flags.act_as_groups.is_empty() && flags.act_as_uid.is_none()) {
            return Err(Problem::Usage("--as-group and --as-uid go with --as".to_owned()));
        }
        let config = config(&flags).await?;
        Self::with(config, flags, screen).await
    }

    /// A session of which nobody is asked anything, such as for a new sign-in: nobody expects a question from a shell's prompt.
    pub async fn open_unasked(flags: Flags, screen: Screen) -> Result<Self, Problem> {
        let mut config = config(&flags).await?;
        if let Some(exec) = &mut config.auth_info.exec {
            exec.interactive_mode = Some(ExecInteractiveMode::Never);
        }
        Self::with(config, flags, screen).await
    }

    async fn with(config: Config, flags: Flags, screen: Screen) -> Result<Self, Problem> {
        let (namespace, server, exec) = (config.default_namespace.clone(), config.cluster_url.to_string(), config.auth_info.exec.clone());
        let client = connect(config).await?;
        Ok(Self { client, screen, flags, namespace, server, exec, me: OnceCell::new() })
    }

    /// Signs in anew: the kubeconfig is read again and its credential plugin asked again.
    pub async fn sign_in_again(&mut self) -> Result<(), Problem> {
        self.client = connect(config(&self.flags).await?).await?;
        self.me = OnceCell::new();
        Ok(())
    }

    /// Tells the one command that comes next, for the same cluster and person.
    pub fn next(&self, command: &str) {
        let flags: Vec<String> = self.flags.cluster_and_person().iter().map(|flag| format!(" {}", quoted(flag))).collect();
        self.screen.next(&format!("{command}{}", flags.concat()));
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
    let shown = crate::api::text::printable(&name.chars().take(80).collect::<String>());
    Err(Problem::Usage(format!("'{shown}' is no name of a {what}: lower case letters, digits, '-' and '.'")))
}

/// It runs the kubeconfig's credential plugin, which may take as long as a sign-in does. On a thread of its own, so that who has waited
/// long enough can go on.
async fn connect(config: Config) -> Result<Client, Problem> {
    let connected = tokio::task::spawn_blocking(move || Client::try_from(config)).await;
    let connected = connected.map_err(|error| Problem::Kubeconfig(one_line(&error)))?;
    connected.map_err(|error| Problem::Kubeconfig(one_line(&error)))
}

async fn config(flags: &Flags) -> Result<Config, Problem> {
    let options = KubeConfigOptions { context: flags.context.clone(), cluster: flags.cluster.clone(), user: flags.user.clone() };
    let broken = |error: &KubeconfigError| Problem::Kubeconfig(one_line(error));
    let loaded = match kubeconfig(flags).map_err(|error| broken(&error))? {
        Some(found) => Config::from_custom_kubeconfig(with_files(found, flags), &options).await.map_err(|error| broken(&error)),
        // Without any file, as kubectl: what the flags say, or the pod's own account.
        None if flags.server.is_some() => {
            Config::from_custom_kubeconfig(with_files(bare(flags), flags), &options).await.map_err(|error| broken(&error))
        }
        None if flags.context.is_none() && flags.cluster.is_none() && flags.user.is_none() => Config::incluster().map_err(|_| {
            Problem::Kubeconfig("there is none: neither --kubeconfig, $KUBECONFIG nor ~/.kube/config names a file".to_owned())
        }),
        None => Err(Problem::Kubeconfig("there is none in which the context, cluster or user could be".to_owned())),
    };
    let mut config = loaded?;
    if let Some(server) = &flags.server {
        config.cluster_url = server.parse().map_err(|_| Problem::Usage(format!("--server '{server}' is no address")))?;
    }
    config.accept_invalid_certs |= flags.insecure_skip_tls_verify;
    config.tls_server_name = flags.tls_server_name.clone().or(config.tls_server_name);
    config.connect_timeout = Some(CONNECT_WITHIN);
    config.read_timeout = (!flags.request_timeout.is_zero()).then_some(flags.request_timeout);
    config.reset_reader_on_write = true;
    let agent = format!("kubectl-jit/{}", env!("CARGO_PKG_VERSION"));
    if let Ok(agent) = http::HeaderValue::from_str(&agent) {
        config.headers.push((http::header::USER_AGENT, agent));
    }
    identify(&mut config.auth_info, flags);
    Ok(config)
}

/// The kubeconfig; none where no file of it is there. Of those in $KUBECONFIG the ones that are not there are left out, as kubectl does;
/// one that cannot be read or understood is an error, and never leads to another identity than was asked for.
fn kubeconfig(flags: &Flags) -> Result<Option<Kubeconfig>, KubeconfigError> {
    if let Some(path) = &flags.kubeconfig {
        return Kubeconfig::read_from(path).map(Some);
    }
    let named = std::env::var_os("KUBECONFIG").filter(|paths| !paths.is_empty());
    let mut files: Vec<PathBuf> = named.iter().flat_map(std::env::split_paths).filter(|path| !path.as_os_str().is_empty()).collect();
    if files.is_empty() {
        files.extend(std::env::home_dir().map(|home| home.join(".kube").join("config")));
    }
    let mut found: Option<Kubeconfig> = None;
    for file in files.iter().filter(|file| file.exists()) {
        let next = Kubeconfig::read_from(file)?;
        found = Some(match found {
            Some(before) => before.merge(next)?,
            None => next,
        });
    }
    Ok(found)
}

/// A kubeconfig for what flags alone say.
fn bare(flags: &Flags) -> Kubeconfig {
    let name = "flags".to_owned();
    Kubeconfig {
        current_context: Some(name.clone()),
        clusters: vec![NamedCluster {
            name: name.clone(),
            cluster: Some(Cluster { server: flags.server.clone(), ..Cluster::default() }),
            ..NamedCluster::default()
        }],
        auth_infos: vec![NamedAuthInfo { name: name.clone(), auth_info: Some(AuthInfo::default()), ..NamedAuthInfo::default() }],
        contexts: vec![NamedContext {
            name: name.clone(),
            context: Some(Context { cluster: name.clone(), user: Some(name), ..Context::default() }),
            ..NamedContext::default()
        }],
        ..Kubeconfig::default()
    }
}

/// Files that flags name, where the kubeconfig would.
fn with_files(mut kubeconfig: Kubeconfig, flags: &Flags) -> Kubeconfig {
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        if let Some(file) = &flags.certificate_authority {
            cluster.certificate_authority = Some(file.clone());
            cluster.certificate_authority_data = None;
        }
    }
    for user in kubeconfig.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut()) {
        if let Some(file) = &flags.client_certificate {
            user.client_certificate = Some(file.clone());
            user.client_certificate_data = None;
        }
        if let Some(file) = &flags.client_key {
            user.client_key = Some(file.clone());
            user.client_key_data = None;
        }
    }
    kubeconfig
}

/// Whom the calls are from. A token goes before everything that the kubeconfig says.
fn identify(auth: &mut AuthInfo, flags: &Flags) {
    if let Some(token) = &flags.token {
        *auth = AuthInfo { token: Some(token.clone().into()), ..AuthInfo::default() };
    }
    if flags.act_as.is_some() {
        auth.impersonate.clone_from(&flags.act_as);
        auth.impersonate_groups = (!flags.act_as_groups.is_empty()).then(|| flags.act_as_groups.clone());
        auth.impersonate_uid.clone_from(&flags.act_as_uid);
    }
}
