//! Reads requests, decisions, eligibilities and policies with the permissions of the user.

use kube::{
    Api, Resource, ResourceExt,
    api::ListParams,
    core::{ClusterResourceScope, DeserializeGuard},
};
use serde::de::DeserializeOwned;

use super::{
    near::is_near,
    problem::Problem,
    session::{Session, valid_name},
};
use api::{ActivationDecision, ApprovalPolicy, RoleActivationRequest, RoleEligibility, State, selectors};
use domain::{Object, convert};

/// Objects per page.
const PAGE: u32 = 500;

/// The operation, for messages.
const LIST: &str = "list requests";

/// The maximum number of suggested requests.
const NAMED: usize = 5;

/// The namespaces of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All namespaces.
    All,
    /// These namespaces.
    In(Vec<String>),
}

impl Scope {
    /// All namespaces with `-A`, else the namespaces of the flags.
    #[must_use]
    pub fn of(session: &Session, all: bool) -> Self {
        if all { Self::All } else { Self::In(session.namespaces()) }
    }

    /// All namespaces unless the flags name some: for the user's own requests.
    #[must_use]
    pub fn wherever(session: &Session) -> Self {
        if session.flags.namespaces.is_empty() { Self::All } else { Self::In(session.namespaces()) }
    }

    /// True for a namespace among these.
    #[must_use]
    pub fn contains(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::In(names) => names.iter().any(|name| name == namespace),
        }
    }

    /// True if a table needs a column for the namespace.
    #[must_use]
    pub fn is_several(&self) -> bool {
        match self {
            Self::All => true,
            Self::In(namespaces) => namespaces.len() > 1,
        }
    }

    /// The number of lists or watches.
    #[must_use]
    pub fn places(&self) -> usize {
        match self {
            Self::All => 1,
            Self::In(namespaces) => namespaces.len(),
        }
    }

    /// ` in namespace 'payments'`, for messages.
    #[must_use]
    pub fn description(&self) -> String {
        match self {
            Self::All => String::new(),
            Self::In(names) => format!(" in namespace '{}'", names.join("', '")),
        }
    }
}

impl Session {
    /// The requests that match the field selector, newest first.
    pub async fn requests(&self, scope: &Scope, fields: &str) -> Result<Vec<RoleActivationRequest>, Problem> {
        self.requests_with(scope, fields, "").await
    }

    /// The requests that match both selectors, newest first.
    pub async fn requests_with(&self, scope: &Scope, fields: &str, labels: &str) -> Result<Vec<RoleActivationRequest>, Problem> {
        let found = self.select(scope, (fields, labels)).await?;
        self.warn_of_skipped_namespaces(false);
        Ok(found)
    }

    async fn select(&self, scope: &Scope, selectors: (&str, &str)) -> Result<Vec<RoleActivationRequest>, Problem> {
        let mut found = match scope {
            // Boxed to keep the futures of all commands small.
            Scope::All => Box::pin(self.everywhere(selectors)).await?,
            Scope::In(names) => {
                self.in_each(names, selectors).await.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect()
            }
        };
        found.sort_by(|a: &RoleActivationRequest, b| created(b).cmp(&created(a)).then_with(|| a.name_any().cmp(&b.name_any())));
        Ok(found)
    }

    /// The requests of the whole cluster, or of all namespaces in which the user may list them.
    async fn everywhere(&self, selectors: (&str, &str)) -> Result<Vec<RoleActivationRequest>, Problem> {
        if !self.readable.is_narrow() {
            match self.pages(&Api::all(self.client.clone()), selectors, LIST).await {
                Err(Problem::Forbidden(_)) => {}
                listed => return listed,
            }
        }
        let mut found = Vec::new();
        for listed in self.in_each(self.readable_namespaces().await?, selectors).await {
            match listed {
                // The permission can be removed during a watch.
                Err(Problem::Forbidden(_)) => {}
                listed => found.extend(listed?),
            }
        }
        Ok(found)
    }

    async fn in_each(&self, namespaces: &[String], selectors: (&str, &str)) -> Vec<Result<Vec<RoleActivationRequest>, Problem>> {
        self.each(namespaces.to_vec(), async |name| self.pages(&self.api(&name)?, selectors, LIST).await).await
    }

    /// The user's own requests that match the field selector, newest first.
    pub async fn my_requests(&self, scope: &Scope, fields: &str) -> Result<Vec<RoleActivationRequest>, Problem> {
        self.my_requests_with(scope, fields, "").await
    }

    /// The user's own requests that match both selectors, newest first.
    pub async fn my_requests_with(&self, scope: &Scope, fields: &str, labels: &str) -> Result<Vec<RoleActivationRequest>, Problem> {
        let me = self.me().await?.name().to_owned();
        let mine = selectors::of_requester(&me);
        let both: Vec<&str> = [fields, &mine].into_iter().filter(|part| !part.is_empty()).collect();
        let found = self.select(scope, (&both.join(","), labels)).await?;
        self.warn_of_skipped_namespaces(true);
        Ok(found.into_iter().filter(|request| requester(request) == me).collect())
    }

    /// One request.
    pub async fn request(&self, namespace: &str, name: &str) -> Result<RoleActivationRequest, Problem> {
        let name = plain_name(name);
        valid_name("request", name)?;
        let api: Api<RoleActivationRequest> = self.api(namespace)?;
        let found = api.get_opt(name).await.map_err(|error| Problem::of(&format!("read request '{namespace}/{name}'"), &error))?;
        match found {
            Some(found) => Ok(found),
            None => Err(self.no_request(namespace, name).await),
        }
    }

    /// The error for an unknown request, with suggestions: the user may have typed the role, the eligibility or the requester of a table.
    async fn no_request(&self, namespace: &str, name: &str) -> Problem {
        let live = self.requests(&Scope::In(vec![namespace.to_owned()]), &selectors::live_states()).await.unwrap_or_default();
        let meant = |request: &&RoleActivationRequest| {
            let role = request.status.as_ref().and_then(|status| status.role.as_ref()).map_or("", |role| role.name.as_str());
            let names = [role, &request.spec.eligibility_ref.name, requester(request)];
            names.contains(&name) || is_near(&request.name_any(), name)
        };
        let meant: Vec<String> = live.iter().filter(meant).take(NAMED).map(|request| format!("'{}'", request.name_any())).collect();
        let hint = if meant.is_empty() {
            "'kubectl jit list -A' lists requests in all namespaces".to_owned()
        } else {
            format!("did you mean {}? 'kubectl jit list -A' lists all", meant.join(", "))
        };
        Problem::Absent(format!("there is no request '{name}' in namespace '{namespace}'; {hint}"))
    }

    /// The decisions on a request, oldest first.
    pub async fn decisions(&self, namespace: &str, request: &str) -> Result<Vec<ActivationDecision>, Problem> {
        let api = self.api(namespace)?;
        let mut found = self.pages::<ActivationDecision>(&api, (&selectors::on_request(request), ""), "list decisions").await?;
        found.sort_by_key(|decision| (created(decision), decision.name_any()));
        Ok(found)
    }

    /// All eligibilities, by name.
    pub async fn eligibilities(&self) -> Result<Vec<RoleEligibility>, Problem> {
        self.all_by_name("list eligibilities").await
    }

    /// All policies, by name.
    pub async fn policies(&self) -> Result<Vec<ApprovalPolicy>, Problem> {
        self.all_by_name("list policies").await
    }

    async fn all_by_name<K>(&self, what: &str) -> Result<Vec<K>, Problem>
    where
        K: Resource<Scope = ClusterResourceScope, DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let mut found = self.pages::<K>(&Api::all(self.client.clone()), ("", ""), what).await?;
        found.sort_by_key(ResourceExt::name_any);
        Ok(found)
    }

    /// One eligibility, if it exists.
    pub async fn eligibility(&self, name: &str) -> Result<Option<RoleEligibility>, Problem> {
        self.cluster_object("eligibility", name).await
    }

    /// One policy, if it exists.
    pub async fn policy(&self, name: &str) -> Result<Option<ApprovalPolicy>, Problem> {
        self.cluster_object("policy", name).await
    }

    async fn cluster_object<K>(&self, what: &str, name: &str) -> Result<Option<K>, Problem>
    where
        K: Resource<Scope = ClusterResourceScope, DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        valid_name(what, name)?;
        let api: Api<K> = Api::all(self.client.clone());
        api.get_opt(name).await.map_err(|error| Problem::of(&format!("read {what} '{name}'"), &error))
    }

    /// Lists all objects, page by page. Skips an object that cannot be decoded, with a warning.
    async fn pages<K>(&self, api: &Api<K>, (fields, labels): (&str, &str), what: &str) -> Result<Vec<K>, Problem>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let url = api.resource_url().to_owned();
        let mut found = Vec::new();
        let mut page = ListParams::default().fields(fields).labels(labels).limit(PAGE);
        loop {
            let request = kube::core::Request::new(&url).list(&page).map_err(|error| Problem::Api(format!("cannot {what}: {error}")))?;
            let list = self.client.request::<kube::core::ObjectList<DeserializeGuard<K>>>(request).await;
            let list = list.map_err(|error| Problem::of(what, &error))?;
            for guard in list.items {
                match guard.0 {
                    Ok(object) => found.push(object),
                    Err(invalid) => {
                        let name = invalid.metadata.name.unwrap_or_default();
                        self.screen.warn(&format!("{} '{name}' cannot be decoded and is skipped: {}", K::kind(&()), invalid.error));
                    }
                }
            }
            match list.metadata.continue_.filter(|more| !more.is_empty()) {
                Some(more) => page = page.continue_token(&more),
                None => return Ok(found),
            }
        }
    }
}

/// The name in `name`, `rar/name` or `roleactivationrequest.jitrbac.dev/name`, the forms that kubectl prints.
#[must_use]
pub fn plain_name(text: &str) -> &str {
    without_kind(text, &["rar", "roleactivationrequest", "roleactivationrequests"])
}

/// The name in `name`, `kind/name` or `kind.group/name`.
#[must_use]
pub fn without_kind<'n>(text: &'n str, kinds: &[&str]) -> &'n str {
    let named = text.split_once('/').filter(|(kind, _)| kinds.contains(&kind.split('.').next().unwrap_or_default()));
    named.map_or(text, |(_, name)| name)
}

/// Namespace and name of NAMESPACE/NAME, or of NAME in the given namespace.
#[must_use]
pub fn placed<'n>(text: &'n str, namespace: &str) -> (String, &'n str) {
    match plain_name(text).split_once('/') {
        Some((place, name)) => (place.to_owned(), name),
        None => (namespace.to_owned(), plain_name(text)),
    }
}

/// The creation time of an object.
pub fn created<K: Resource>(object: &K) -> jiff::Timestamp {
    object.meta().creation_timestamp.as_ref().map(api::conditions::from_time).unwrap_or_default()
}

/// The recorded requester.
#[must_use]
pub fn requester(request: &RoleActivationRequest) -> &str {
    request.spec.requester.as_ref().map_or("", |stamp| stamp.username.as_str())
}

/// The state of a request.
#[must_use]
pub fn state(request: &RoleActivationRequest) -> State {
    request.status.as_ref().and_then(|status| status.state).unwrap_or_default()
}

/// Namespace and name of a request for messages: `payments/inc-4711`.
#[must_use]
pub fn full_name(request: &RoleActivationRequest) -> String {
    format!("{}/{}", request.namespace().unwrap_or_default(), request.name_any())
}

/// An eligibility as input of the rules.
#[must_use]
pub fn eligibility_facts(eligibility: &RoleEligibility) -> Object<api::RoleEligibilitySpec> {
    convert::object(&eligibility.metadata, eligibility.spec.clone())
}
