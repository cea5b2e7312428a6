//! Reads one context of a kubeconfig as kubectl does.

use std::path::{Path, PathBuf};

use k8s_openapi::ByteString;
use kube::{
    Config,
    config::{AuthInfo, Cluster, Context, ExecAuthCluster, ExecConfig, Kubeconfig, KubeconfigError},
};

use super::{address, proxy, tls};
use crate::redact::redacted;
use api::text::printable;

/// Command-line overrides of the kubeconfig. They take precedence over it.
#[derive(Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// Name of the context.
    pub context: Option<&'a str>,
    /// Name of the cluster.
    pub cluster: Option<&'a str>,
    /// Name of the user.
    pub user: Option<&'a str>,
    /// Address of the API server.
    pub server: Option<&'a str>,
    /// Whether the API server's certificate is accepted without verification.
    pub insecure: bool,
    /// Server name that the API server's certificate must contain.
    pub tls_server_name: Option<&'a str>,
    /// File with the certificate authority.
    pub certificate_authority: Option<&'a str>,
    /// File with a client certificate.
    pub client_certificate: Option<&'a str>,
    /// File with its key.
    pub client_key: Option<&'a str>,
    /// Bearer token. It replaces all credentials of the kubeconfig.
    pub token: Option<&'a str>,
}

/// An API server, and the identity to call it with.
pub struct Target {
    /// All settings except the credential plugin.
    pub config: Config,
    /// The credential plugin, if there is one and no other credential takes precedence.
    pub exec: Option<ExecConfig>,
}

/// Returns the existing files of a kubeconfig, merged. Files in `$KUBECONFIG` that do not exist are skipped, as kubectl does. A file that
/// cannot be read or parsed is an error, so that another identity than the intended one is never used. `None` where no file exists.
///
/// # Errors
///
/// A description of the file that cannot be used.
pub fn files() -> Result<Option<Kubeconfig>, String> {
    let mut found: Option<Kubeconfig> = None;
    for file in paths().iter().filter(|file| file.exists()) {
        let next = file_at(file)?;
        found = Some(match found {
            Some(before) => before.merge(next).map_err(|error| told(file, &error))?,
            None => next,
        });
    }
    Ok(found)
}

/// The paths of the kubeconfig.
#[must_use]
pub fn paths() -> Vec<PathBuf> {
    let named = std::env::var_os("KUBECONFIG").filter(|paths| !paths.is_empty());
    let mut files: Vec<PathBuf> = named.iter().flat_map(std::env::split_paths).filter(|path| !path.as_os_str().is_empty()).collect();
    if files.is_empty() {
        files.extend(std::env::home_dir().map(|home| home.join(".kube").join("config")));
    }
    files
}

/// Reads one file.
///
/// # Errors
///
/// A description of why the file cannot be used.
pub fn file_at(path: &Path) -> Result<Kubeconfig, String> {
    Kubeconfig::read_from(path).map_err(|error| told(path, &error))
}

/// Returns what is wrong with a file. Parsers quote their input, which may be a secret, so only the position is reported.
fn told(path: &Path, error: &KubeconfigError) -> String {
    let path = printable(&path.display().to_string());
    match error {
        KubeconfigError::ReadConfig(why, _) => format!("'{path}': {why}"),
        KubeconfigError::Parse(why) => {
            let place = why.location().map(|at| format!(" (line {}, column {})", at.line(), at.column())).unwrap_or_default();
            format!("'{path}' is not a kubeconfig{place}")
        }
        KubeconfigError::KindMismatch => format!("'{path}' is of another kind than the files before it in $KUBECONFIG"),
        KubeconfigError::ApiVersionMismatch => format!("'{path}' has another apiVersion than the files before it in $KUBECONFIG"),
        _ => format!("'{path}' cannot be used"),
    }
}

/// Returns the settings of the requested context, or of the current one.
///
/// # Errors
///
/// A description of what does not exist or cannot be used, in kubectl's words where kubectl has some.
pub fn resolve(kubeconfig: &Kubeconfig, wanted: Wanted<'_>) -> Result<Target, String> {
    let (context_name, context) = context(kubeconfig, wanted)?;
    let mut cluster = cluster(kubeconfig, wanted, &context_name, &context)?;
    let mut user = user(kubeconfig, wanted, &context_name, &context)?;
    overridden(&mut cluster, &mut user, wanted);
    let server = wanted.server.filter(|server| !server.is_empty()).or(cluster.server.as_deref()).unwrap_or_default();
    let server = address::parse(server)?;
    let secure = server.scheme_str() == Some("https");
    let mut config = Config::new(server.clone());
    if let Some(namespace) = context.namespace.filter(|namespace| !namespace.is_empty()) {
        config.default_namespace = namespace;
    }
    config.accept_invalid_certs = wanted.insecure || cluster.insecure_skip_tls_verify.unwrap_or(false);
    config.disable_compression = cluster.disable_compression.unwrap_or(false);
    config.tls_server_name = cluster.tls_server_name.clone().filter(|name| !name.is_empty());
    if secure && !config.accept_invalid_certs {
        config.root_cert = authority(&cluster)?;
    }
    config.proxy_url = match cluster.proxy_url.as_deref().filter(|url| !url.is_empty()) {
        Some(url) => Some(proxy::of_cluster(url)?),
        None => proxy::from_environment(&server, |name| std::env::var(name).ok())?,
    };
    // Credentials are never sent over an unencrypted connection, as with kubectl.
    config.auth_info = if secure { user } else { only_impersonation(user) };
    let exec = credential_plugin(&mut config.auth_info, &cluster)?;
    Ok(Target { config, exec })
}

/// Applies the overrides.
fn overridden(cluster: &mut Cluster, user: &mut AuthInfo, wanted: Wanted<'_>) {
    let owned = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(ToOwned::to_owned);
    if let Some(file) = owned(wanted.certificate_authority) {
        (cluster.certificate_authority, cluster.certificate_authority_data) = (Some(file), None);
    }
    if let Some(name) = owned(wanted.tls_server_name) {
        cluster.tls_server_name = Some(name);
    }
    if let Some(file) = owned(wanted.client_certificate) {
        (user.client_certificate, user.client_certificate_data) = (Some(file), None);
    }
    if let Some(file) = owned(wanted.client_key) {
        (user.client_key, user.client_key_data) = (Some(file), None);
    }
    if let Some(token) = owned(wanted.token) {
        *user = AuthInfo { token: Some(token.into()), ..AuthInfo::default() };
    }
}

fn context(kubeconfig: &Kubeconfig, wanted: Wanted<'_>) -> Result<(String, Context), String> {
    let current = kubeconfig.current_context.as_deref().filter(|name| !name.is_empty());
    let Some(name) = wanted.context.filter(|name| !name.is_empty()).or(current) else {
        // The overrides alone are sufficient.
        return if wanted.server.or(wanted.cluster).is_some() {
            Ok((String::new(), Context::default()))
        } else {
            Err("no context is set: name one with --context, or set it with 'kubectl config use-context'".to_owned())
        };
    };
    let found = kubeconfig.contexts.iter().find(|named| named.name == name).and_then(|named| named.context.clone());
    match found {
        Some(found) => Ok((name.to_owned(), found)),
        None => Err(format!("context '{}' does not exist", printable(name))),
    }
}

/// Returns ` (of context 'prod')`, where the value comes from the context.
fn of_context(name: &str) -> String {
    format!(", which context '{}' names", printable(name))
}

fn cluster(kubeconfig: &Kubeconfig, wanted: Wanted<'_>, context_name: &str, context: &Context) -> Result<Cluster, String> {
    let asked = wanted.cluster.filter(|name| !name.is_empty());
    let name = asked.unwrap_or(&context.cluster);
    let found = kubeconfig.clusters.iter().find(|named| named.name == name).and_then(|named| named.cluster.clone());
    match (found, asked) {
        (Some(found), _) => Ok(found),
        (None, Some(name)) => Err(format!("cluster '{}' does not exist", printable(name))),
        (None, None) if wanted.server.is_some() => Ok(Cluster::default()),
        (None, None) => Err(format!("cluster '{}'{} does not exist", printable(name), of_context(context_name))),
    }
}

fn user(kubeconfig: &Kubeconfig, wanted: Wanted<'_>, context_name: &str, context: &Context) -> Result<AuthInfo, String> {
    let asked = wanted.user.filter(|name| !name.is_empty());
    let Some(name) = asked.or(context.user.as_deref().filter(|name| !name.is_empty())) else { return Ok(AuthInfo::default()) };
    let found = kubeconfig.auth_infos.iter().find(|named| named.name == name);
    match found {
        Some(found) => Ok(found.auth_info.clone().unwrap_or_default()),
        None if asked.is_some() => Err(format!("auth info '{}' does not exist", printable(name))),
        None => Err(format!("auth info '{}'{} does not exist", printable(name), of_context(context_name))),
    }
}

fn authority(cluster: &Cluster) -> Result<Option<Vec<Vec<u8>>>, String> {
    let pem = if let Some(data) = cluster.certificate_authority_data.as_deref().filter(|data| !data.is_empty()) {
        let coded = serde_json::Value::String(data.split_whitespace().collect());
        serde_json::from_value::<ByteString>(coded).map_err(|_| "certificate-authority-data is not base64".to_owned())?.0
    } else if let Some(path) = cluster.certificate_authority.as_deref().filter(|path| !path.is_empty()) {
        std::fs::read(path).map_err(|error| format!("certificate-authority '{}': {error}", printable(path)))?
    } else {
        return Ok(None);
    };
    let found = tls::certificates(&pem).map_err(|why| format!("certificate-authority cannot be used: {why}"))?;
    Ok(Some(found))
}

fn only_impersonation(user: AuthInfo) -> AuthInfo {
    AuthInfo {
        impersonate: user.impersonate,
        impersonate_uid: user.impersonate_uid,
        impersonate_groups: user.impersonate_groups,
        impersonate_user_extra: user.impersonate_user_extra,
        ..AuthInfo::default()
    }
}

/// Moves the credential plugin out of the user unless another credential takes precedence, and refuses what no client supports.
fn credential_plugin(user: &mut AuthInfo, cluster: &Cluster) -> Result<Option<ExecConfig>, String> {
    let exec = user.exec.take();
    fit_token(user)?;
    if let Some(provider) = &user.auth_provider {
        if exec.is_some() {
            return Err("the user has both an auth-provider and an exec entry".to_owned());
        }
        // The other auth providers run commands or were removed; kubectl knows only this one.
        if provider.name != "oidc" {
            return Err(format!(
                "auth-provider '{}' is not supported, nor is it by kubectl since 1.26: use a credential plugin (exec)",
                printable(&redacted(&provider.name))
            ));
        }
    }
    let certificate = user.client_certificate.is_some() || user.client_certificate_data.is_some();
    let goes_before = user.token.is_some() || user.token_file.is_some() || user.username.is_some() || certificate;
    let Some(mut exec) = exec.filter(|_| !goes_before) else { return Ok(None) };
    if exec.provide_cluster_info {
        let info = ExecAuthCluster::try_from(cluster).map_err(|_| "certificate-authority cannot be read".to_owned())?;
        exec.cluster = Some(info);
    }
    Ok(Some(exec))
}

/// Returns a token that is a valid header value: a token from a file loses its trailing line break.
fn fit_token(user: &mut AuthInfo) -> Result<(), String> {
    // The type hides the text from logs; as JSON it is the text.
    let token = serde_json::to_value(&*user).ok().and_then(|user| Some(user.get("token")?.as_str()?.to_owned()));
    if token.as_deref() == Some("") {
        user.token = None;
    }
    let token = match (token.filter(|token| !token.is_empty()), user.token_file.as_deref().filter(|path| !path.is_empty())) {
        (Some(token), _) => token,
        (None, Some(path)) => {
            let read = std::fs::read_to_string(path).map_err(|error| format!("tokenFile '{}': {error}", printable(path)))?;
            let token = read.trim().to_owned();
            if token != read {
                user.token = Some(token.clone().into());
            }
            token
        }
        (None, None) => {
            user.token_file = None;
            return Ok(());
        }
    };
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the user's token is empty or has characters that are not allowed in an HTTP header".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parsed(value: &Value) -> Kubeconfig {
        serde_json::from_value(value.clone()).unwrap()
    }

    fn two() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "a",
            "clusters": [{"name": "a", "cluster": {"server": "https://10.0.0.1"}}, {"name": "plain", "cluster": {"server": "10.0.0.2:8080"}}],
            "users": [{"name": "ann", "user": {"token": "S3cr3t"}}],
            "contexts": [
                {"name": "a", "context": {"cluster": "a", "user": "ann", "namespace": "shop"}},
                {"name": "plain", "context": {"cluster": "plain", "user": "ann"}},
                {"name": "no-cluster", "context": {"cluster": "gone", "user": "ann"}},
                {"name": "no-user", "context": {"cluster": "a", "user": "gone"}},
            ],
        })
    }

    fn refused(wanted: Wanted<'_>) -> String {
        resolve(&parsed(&two()), wanted).err().unwrap_or_default()
    }

    #[test]
    fn f33_what_does_not_exist_is_an_error_in_words_of_kubectl() {
        let none = Wanted::default();
        assert_eq!(refused(Wanted { context: Some("nope"), ..none }), "context 'nope' does not exist");
        assert_eq!(refused(Wanted { cluster: Some("nope"), ..none }), "cluster 'nope' does not exist");
        assert_eq!(refused(Wanted { user: Some("nope"), ..none }), "auth info 'nope' does not exist");
        assert_eq!(
            refused(Wanted { context: Some("no-cluster"), ..none }),
            "cluster 'gone', which context 'no-cluster' names does not exist"
        );
        assert_eq!(refused(Wanted { context: Some("no-user"), ..none }), "auth info 'gone', which context 'no-user' names does not exist");
        let mut unset = two();
        unset["current-context"] = json!("");
        assert!(resolve(&parsed(&unset), none).err().is_some_and(|why| why.contains("no context is set")));
    }

    #[test]
    fn f33_no_credential_goes_where_others_can_read_it() {
        let target = resolve(&parsed(&two()), Wanted::default()).unwrap();
        assert_eq!(
            (target.config.cluster_url.to_string().as_str(), target.config.default_namespace.as_str()),
            ("https://10.0.0.1/", "shop")
        );
        assert!(target.config.auth_info.token.is_some());
        for wanted in [
            Wanted { context: Some("plain"), ..Wanted::default() },
            Wanted { server: Some("http://10.0.0.1"), ..Wanted::default() },
            Wanted { server: Some("10.0.0.1:6443"), ..Wanted::default() },
        ] {
            let target = resolve(&parsed(&two()), wanted).unwrap();
            assert_eq!(target.config.cluster_url.scheme_str(), Some("http"));
            assert!(target.config.auth_info.token.is_none(), "{:?}", wanted.server);
        }
    }

    #[test]
    fn f62_nothing_but_a_credential_of_the_kubeconfig_goes_before_a_credential_plugin() {
        let exec = json!({"apiVersion": "client.authentication.k8s.io/v1", "command": "x", "interactiveMode": "Never"});
        for (user, runs) in [
            (json!({"exec": exec}), true),
            (json!({"exec": exec, "token": ""}), true),
            (json!({"exec": exec, "token": "t"}), false),
            (json!({"exec": exec, "client-certificate": "c", "client-key": "k"}), false),
        ] {
            let mut config = two();
            config["users"][0]["user"] = user.clone();
            let target = resolve(&parsed(&config), Wanted::default()).unwrap();
            assert_eq!((target.exec.is_some(), target.config.auth_info.exec.is_some()), (runs, false), "{user}");
        }
    }

    /// Every kubeconfig results in a client or an error message. There is no panic, and no secret in the message.
    #[tokio::test]
    async fn f33_f39_no_kubeconfig_panics_or_tells_a_secret() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let texts = [
            "",
            " ",
            "S3cr3t",
            "S3cr3t\n",
            "\u{0}S3cr3t",
            "ä",
            "-----BEGIN CERTIFICATE-----\nS3cr3t\n-----END CERTIFICATE-----",
            "UzNjcjN0",
        ];
        let fields = [
            ("cluster", "server"),
            ("cluster", "certificate-authority-data"),
            ("cluster", "certificate-authority"),
            ("cluster", "proxy-url"),
            ("cluster", "tls-server-name"),
            ("user", "token"),
            ("user", "tokenFile"),
            ("user", "client-certificate-data"),
            ("user", "client-key-data"),
            ("user", "client-certificate"),
            ("user", "client-key"),
            ("user", "username"),
            ("user", "password"),
            ("user", "as"),
            ("user", "as-uid"),
            ("context", "namespace"),
        ];
        for (part, field) in fields {
            for text in texts.into_iter().chain(["ftp://a:S3cr3t@b", "http://a:S3cr3t@b", "https://", "127.0.0.1:1", ":::"]) {
                let mut config = two();
                let place = match part {
                    "cluster" => &mut config["clusters"][0]["cluster"],
                    "user" => &mut config["users"][0]["user"],
                    _ => &mut config["contexts"][0]["context"],
                };
                place[field] = json!(text);
                if field.starts_with("client-") {
                    place["client-key-data"] = json!(text);
                    place["client-certificate-data"] = json!(text);
                }
                let made = resolve(&parsed(&config), Wanted::default())
                    .and_then(|target| super::super::builder(target, super::super::Stdin::Log).map_err(|error| error.to_string()));
                if let Err(why) = made {
                    // File names and addresses are no secrets, except for a password in an address.
                    let public = matches!(field, "certificate-authority" | "tokenFile") || field == "server" && !text.contains('@');
                    assert!(public || !why.contains("S3cr3t"), "{part}.{field} = {text:?}: {why}");
                    assert!(!why.trim().is_empty() && !why.contains('\n'), "{part}.{field} = {text:?}: {why}");
                }
            }
        }
    }

    #[test]
    fn f39_a_file_that_cannot_be_parsed_is_told_by_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        for text in [
            "users: [{name: a, user: {token: [S3cr3t]}}]",
            "users: S3cr3t",
            "a: b: S3cr3t",
            "clusters: [{name: {S3cr3t: x}}]",
            "\t- S3cr3t",
        ] {
            std::fs::write(&path, text).unwrap();
            let said = file_at(&path).err().unwrap_or_default();
            assert!(said.contains("is not a kubeconfig") && !said.contains("S3cr3t"), "{text}: {said}");
        }
    }
}
