use std::collections::HashMap;

use http::Method;
use http::request::Parts;
use hyper::body::Bytes;
use serde_json::Value;

/// One call of a controller, as the proxy received it.
#[derive(Clone, Debug)]
pub struct Call {
    /// The calling process, such as `controller-0`.
    pub caller: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: &'static str,
    /// The plural, with a subresource as in `roleactivationrequests/status`; empty for paths that are not a resource.
    pub resource: String,
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    /// Empty for collections.
    pub name: String,
    /// Path and query, without the caller's prefix.
    pub target: String,
    /// The request body.
    body: Bytes,
    /// Names of objects whose uid the call contains.
    objects: Vec<String>,
}

/// Names of objects by uid, as far as responses have contained them.
pub(super) type Names = HashMap<String, String>;

impl Call {
    pub(super) fn read(caller: &str, parts: &Parts, target: String, body: Bytes, names: &Names) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let place = Place::read(path);
        let watches = query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1"));
        let verb = match (&parts.method, place.name.is_empty()) {
            (&Method::GET, _) if watches => "watch",
            (&Method::GET, true) => "list",
            (&Method::GET, false) => "get",
            (&Method::POST, _) => "create",
            (&Method::PUT, _) => "update",
            (&Method::PATCH, _) => "patch",
            (&Method::DELETE, true) => "deletecollection",
            (&Method::DELETE, false) => "delete",
            _ => "",
        };
        let objects = place.name.strip_prefix("jit-").and_then(|uid| names.get(uid)).cloned().into_iter().collect();
        Self {
            caller: caller.to_owned(),
            verb,
            resource: place.resource,
            namespace: place.namespace,
            name: place.name,
            target,
            body,
            objects,
        }
    }

    /// Returns whether the call contains this word in path, query or body, or is about the binding of a request of this name.
    #[must_use]
    pub fn is_about(&self, word: &str) -> bool {
        let within = |text: &[u8]| text.windows(word.len().max(1)).any(|part| part == word.as_bytes());
        self.objects.iter().any(|name| name == word) || within(self.target.as_bytes()) || within(&self.body)
    }

    /// Returns whether it would change an object if it succeeds.
    #[must_use]
    pub fn is_write(&self) -> bool {
        matches!(self.verb, "create" | "update" | "patch" | "delete" | "deletecollection") && !self.target.contains("dryRun=All")
    }

    /// Returns the request body.
    pub(super) fn body(&self) -> Bytes {
        self.body.clone()
    }
}

/// Parses the resource of a path.
#[derive(Default)]
struct Place {
    namespace: String,
    resource: String,
    name: String,
}

impl Place {
    fn read(path: &str) -> Self {
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let (["api", _, rest @ ..] | ["apis", _, _, rest @ ..]) = segments.as_slice() else { return Self::default() };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let (resource, name, subresource) = match rest {
            [resource] => (*resource, "", ""),
            [resource, name] => (*resource, *name, ""),
            [resource, name, subresource, ..] => (*resource, *name, *subresource),
            [] => return Self::default(),
        };
        let resource = if subresource.is_empty() { resource.to_owned() } else { format!("{resource}/{subresource}") };
        Self { namespace: namespace.to_owned(), resource, name: name.to_owned() }
    }
}

/// Returns uid and name of the object in a response, if it is one.
pub(super) fn identity(answer: &[u8]) -> Option<(String, String)> {
    let object: Value = serde_json::from_slice(answer).ok()?;
    let metadata = object.get("metadata")?;
    let text = |key: &str| metadata.get(key)?.as_str().map(str::to_owned);
    Some((text("uid")?, text("name")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: Method, target: &str, body: &'static str, names: &Names) -> Call {
        let (parts, ()) = http::Request::builder().method(method).body(()).unwrap().into_parts();
        Call::read("controller-0", &parts, target.to_owned(), Bytes::from_static(body.as_bytes()), names)
    }

    #[test]
    fn a_call_is_told_by_verb_resource_and_place() {
        let names = Names::new();
        let seen = |method, target: &str| {
            let call = call(method, target, "", &names);
            (call.verb, call.resource, call.namespace, call.name)
        };
        let expect = |verb, resource: &str, namespace: &str, name: &str| (verb, resource.to_owned(), namespace.to_owned(), name.to_owned());
        let group = "/apis/jitrbac.dev/v1alpha1";
        assert_eq!(
            seen(Method::GET, &format!("{group}/namespaces/a/roleactivationrequests/now?x=y")),
            expect("get", "roleactivationrequests", "a", "now")
        );
        assert_eq!(
            seen(Method::PATCH, &format!("{group}/namespaces/a/roleactivationrequests/now/status?force=true")),
            expect("patch", "roleactivationrequests/status", "a", "now")
        );
        assert_eq!(
            seen(Method::GET, &format!("{group}/roleactivationrequests?&watch=true&resourceVersion=1")),
            expect("watch", "roleactivationrequests", "", "")
        );
        assert_eq!(seen(Method::GET, "/api/v1/namespaces/a"), expect("get", "namespaces", "", "a"));
        assert_eq!(seen(Method::GET, "/api/v1/namespaces"), expect("list", "namespaces", "", ""));
        assert_eq!(seen(Method::DELETE, "/api/v1/namespaces/a/configmaps"), expect("deletecollection", "configmaps", "a", ""));
        assert_eq!(seen(Method::GET, "/version"), expect("list", "", "", ""));
    }

    #[test]
    fn a_call_is_about_what_it_bears_and_about_the_request_of_its_binding() {
        let names = Names::from([("0-1".to_owned(), "now".to_owned())]);
        let bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/a/rolebindings";
        assert!(call(Method::DELETE, &format!("{bindings}/jit-0-1"), "", &names).is_about("now"));
        assert!(!call(Method::DELETE, &format!("{bindings}/jit-0-2"), "", &names).is_about("now"));
        assert!(call(Method::POST, bindings, "{\"of\": \"now\"}", &names).is_about("now"));
        assert!(
            call(Method::GET, "/apis/jitrbac.dev/v1alpha1/activationdecisions?fieldSelector=spec.requestRef.name%3Dnow", "", &names)
                .is_about("now")
        );
    }

    #[test]
    fn an_answer_tells_which_object_it_holds() {
        assert_eq!(identity(br#"{"metadata": {"uid": "0-1", "name": "now"}}"#), Some(("0-1".to_owned(), "now".to_owned())));
        assert_eq!(identity(br#"{"metadata": {"resourceVersion": "1"}, "items": []}"#), None);
        assert_eq!(identity(b"ok"), None);
    }
}
