use serde_json::{Value, json};

use super::sign_in::{AUDIENCE, Provider};
use crate::binaries::Version;

/// The first API server that supports the configuration as `v1`.
const V1_SINCE: Version = Version { major: 1, minor: 34 };

/// Returns how the API server maps the tokens of all providers: an `AuthenticationConfiguration` as `docs/authentication.md` advises.
/// `server` is the issuer's address, `ca` verifies its certificate.
pub(crate) fn configuration(version: Version, server: &str, ca: &str) -> Value {
    let v = if version < V1_SINCE { "v1beta1" } else { "v1" };
    json!({
        "apiVersion": format!("apiserver.config.k8s.io/{v}"),
        "kind": "AuthenticationConfiguration",
        "jwt": Provider::ALL.map(|provider| authenticator(provider, server, ca)),
    })
}

fn authenticator(provider: Provider, server: &str, ca: &str) -> Value {
    let (prefix, rules) = (provider.prefix(), rules(provider));
    json!({
        "issuer": {
            "url": provider.issuer(),
            "discoveryURL": format!("{server}/{}", discovery_path(provider)),
            "certificateAuthority": ca,
            "audiences": [AUDIENCE],
        },
        "claimMappings": {
            "username": {"claim": "preferred_username", "prefix": prefix},
            "groups": {"claim": "groups", "prefix": prefix},
            "uid": {"claim": "sub"},
            // An empty list or text yields no key.
            "extra": [
                {"key": "jitrbac.dev/amr", "valueExpression": "claims.?amr.orValue([])"},
                {"key": "jitrbac.dev/acr", "valueExpression": r#"claims.?acr.orValue("")"#},
                // Numbers of a token are floating-point: without `int` this would be 1.7e+09.
                {"key": "jitrbac.dev/auth-time", "valueExpression": r#"has(claims.auth_time) ? string(int(claims.auth_time)) : """#},
            ],
        },
        "userValidationRules": rules,
    })
}

/// Denies names of Kubernetes itself, with the prefix or without it.
fn rules(provider: Provider) -> Value {
    match provider {
        Provider::Careless => json!([]),
        Provider::Company => json!([
            {
                "expression": "!user.username.matches('^(oidc:)*system:')",
                "message": "names that start with system: belong to Kubernetes itself",
            },
            {
                "expression": "user.groups.all(group, !group.matches('^(oidc:)*system:'))",
                "message": "groups that start with system: belong to Kubernetes itself",
            },
        ]),
    }
}

/// Returns the URL of a provider's discovery document.
pub(super) fn discovery_path(provider: Provider) -> String {
    format!("{}/.well-known/openid-configuration", provider.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_servers_get_an_older_version() {
        let version = |minor| configuration(Version { major: 1, minor }, "https://127.0.0.1:1", "")["apiVersion"].clone();
        assert_eq!(version(33), "apiserver.config.k8s.io/v1beta1");
        assert_eq!(version(34), "apiserver.config.k8s.io/v1");
        assert_eq!(version(36), "apiserver.config.k8s.io/v1");
    }

    #[test]
    fn admins_are_told_what_is_tried_here() {
        let told = include_str!("../../../../docs/authentication.md");
        let jwt = authenticator(Provider::Company, "https://127.0.0.1:1", "");
        let extra = jwt["claimMappings"]["extra"].as_array().unwrap().iter().map(|mapping| &mapping["valueExpression"]);
        let rules = jwt["userValidationRules"].as_array().unwrap().iter().map(|rule| &rule["expression"]);
        for expression in extra.chain(rules) {
            assert!(told.contains(expression.as_str().unwrap()), "docs/authentication.md does not contain {expression}");
        }
    }
}
