//! What commands read: requests, decisions, eligibilities and policies, as the person may read them.

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
use domain::{Object, RequestFacts, convert};

/// Objects a page.
const PAGE: u32 = 500;

/// What is tried, for messages.
const LIST: &str = "list requests";

/// Most requests that are named where another one was meant.
const NAMED: usize = 5;

/// Where a list looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everywhere.
    All,
    /// In these namespaces.
    In(Vec<String>),
}

impl Scope {
    /// Everywhere with `-A`, else the namespaces of the flags.
    #[must_use]
    pub fn of(session: &Session, all: bool) -> Self {
        if all { Self::All } else { Self::In(session.namespaces()) }
    }

    /// Everywhere unless the flags name a namespace: for who looks for his own things.
    #[must_use]
    pub fn wherever(session: &Session) -> Self {
        if session.flags.namespaces.is_empty() { Self::All } else { Self::In(session.namespaces()) }
    }

    /// True where rows need a column that says where they are.
    #[must_use]
    pub fn is_several(&self) -> bool {
        match self {
            Self::All => true,
            Self::In(namespaces) => namespaces.len() > 1,
        }
    }

    /// How many lists, and watches, it takes.
    #[must_use]
    pub fn places(&self) -> usize {
        match self {
            Self::All => 1,
            Self::In(namespaces) => namespaces.len(),
        }
    }

    /// ` in namespace 'payments'`, for what is not there.
    #[must_use]
    pub fn in_words(&self) -> String {
        match self {
            Self::All => String::new(),
            Self::In(names) => format!(" in namespace '{}'", names.join("', '")),
        }
    }
}

impl Session {
    /// Requests that these fields select, newest first.
    pub async fn requests(&self, scope: &Scope, fields: &str) -> Result<Vec<RoleActivationRequest>, Problem> {
        self.requests_with(scope, fields, "").await
    }

    /// Requests that these fields and labels select, newest first.
    pub async fn requests_with(&self, scope: &Scope, fields: &str, labels: &str) -> Result<Vec<RoleActivationRequest>, Problem> {
        let found = self.select(scope, (fields, labels)).await?;
        self.tell_what_is_left_out(false);
        Ok(found)
    }

    async fn select(&self, scope: &Scope, selectors: (&str, &str)) -> Result<Vec<RoleActivationRequest>, Problem> {
        let mut found = match scope {
            // On the heap, so that the futures of all commands stay small.
            Scope::All => Box::pin(self.everywhere(selectors)).await?,
            Scope::In(names) => {
                self.in_each(names, selectors).await.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect()
            }
        };
        found.sort_by(|a: &RoleActivationRequest, b| created(b).cmp(&created(a)).then_with(|| a.name_any().cmp(&b.name_any())));
        Ok(found)
    }

    /// The requests of the whole cluster, or of all namespaces in which the person may list them.
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
                // A right can be withdrawn while somebody watches.
                Err(Problem::Forbidden(_)) => {}
                listed => found.extend(listed?),
            }
        }
        Ok(found)
    }

    async fn in_each(&self, namespaces: &[String], selectors: (&str, &str)) -> Vec<Result<Vec<RoleActivationRequest>, Problem>> {
        self.each(namespaces.to_vec(), async |name| self.pages(&self.api(&name)?, selectors, LIST).await).await
    }

    /// The requests of the person himself that also have these fields, newest first.
    pub async fn my_requests(&self, scope: &Scope, fields: &str) -> Result<Vec<RoleActivationRequest>, Problem> {
        self.my_requests_with(scope, fields, "").await
    }

    /// The requests of the person himself that also have these fields and labels, newest first.
    pub async fn my_requests_with(&self, scope: &Scope, fields: &str, labels: &str) -> Result<Vec<RoleActivationRequest>, Problem> {
        let me = self.me().await?.name().to_owned();
        let mine = selectors::of_requester(&me);
        let both: Vec<&str> = [fields, &mine].into_iter().filter(|part| !part.is_empty()).collect();
        let found = self.select(scope, (&both.join(","), labels)).await?;
        self.tell_what_is_left_out(true);
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

    /// Why there is no request of this name: somebody may have typed the role, the eligibility or the requester as tables show them.
    async fn no_request(&self, namespace: &str, name: &str) -> Problem {
        let live = self.requests(&Scope::In(vec![namespace.to_owned()]), &selectors::live_states()).await.unwrap_or_default();
        let meant = |request: &&RoleActivationRequest| {
            let role = request.status.as_ref().and_then(|status| status.role.as_ref()).map_or("", |role| role.name.as_str());
            let names = [role, &request.spec.eligibility_ref.name, requester(request)];
            names.contains(&name) || is_near(&request.name_any(), name)
        };
        let meant: Vec<String> = live.iter().filter(meant).take(NAMED).map(|request| format!("'{}'", request.name_any())).collect();
        let hint = if meant.is_empty() {
            "'kubectl jit list -A' finds it elsewhere".to_owned()
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

    /// One eligibility, if there is one of this name.
    pub async fn eligibility(&self, name: &str) -> Result<Option<RoleEligibility>, Problem> {
        self.cluster_object("eligibility", name).await
    }

    /// One policy, if there is one of this name.
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

    /// All objects in pages. One that cannot be understood is told and left out.
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
                        self.screen.warn(&format!("{} '{name}' cannot be understood and is left out: {}", K::kind(&()), invalid.error));
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

/// `name`, `rar/name` and `roleactivationrequest.jitrbac.dev/name` name the same request, as kubectl prints it.
#[must_use]
pub fn plain_name(text: &str) -> &str {
    match text.split_once('/') {
        Some((kind, name))
            if ["rar", "roleactivationrequest", "roleactivationrequests"].contains(&kind.split('.').next().unwrap_or_default()) =>
        {
            name
        }
        _ => text,
    }
}

/// Namespace and name of what is named as tables and messages do: NAMESPACE/NAME, or NAME in this namespace.
#[must_use]
pub fn placed<'n>(text: &'n str, namespace: &str) -> (String, &'n str) {
    match plain_name(text).split_once('/') {
        Some((place, name)) => (place.to_owned(), name),
        None => (namespace.to_owned(), plain_name(text)),
    }
}

/// The API server's time of an object's creation.
pub fn created<K: Resource>(object: &K) -> chrono::DateTime<chrono::Utc> {
    object.meta().creation_timestamp.as_ref().map(api::conditions::from_time).unwrap_or_default()
}

/// Who made a request, as stamped.
#[must_use]
pub fn requester(request: &RoleActivationRequest) -> &str {
    request.spec.requester.as_ref().map_or("", |stamp| stamp.username.as_str())
}

/// Where a request stands.
#[must_use]
pub fn state(request: &RoleActivationRequest) -> State {
    request.status.as_ref().and_then(|status| status.state).unwrap_or_default()
}

/// Namespace and name of a request, as it is named to people: `payments/inc-4711`.
#[must_use]
pub fn full_name(request: &RoleActivationRequest) -> String {
    format!("{}/{}", request.namespace().unwrap_or_default(), request.name_any())
}

/// An eligibility as the rules see it.
#[must_use]
pub fn eligibility_facts(eligibility: &RoleEligibility) -> Object<api::RoleEligibilitySpec> {
    convert::object(&eligibility.metadata, eligibility.spec.clone())
}

/// A policy as the rules see it.
#[must_use]
pub fn policy_facts(policy: &ApprovalPolicy) -> Object<api::ApprovalPolicySpec> {
    convert::policy(policy)
}

/// A request as the rules see it.
#[must_use]
pub fn request_facts(request: &RoleActivationRequest) -> RequestFacts {
    convert::request(request)
}
