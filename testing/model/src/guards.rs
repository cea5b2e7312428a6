//! The guards of the product that can be taken out, one by one.

/// A guard. Each is one or a few lines of the product; the file is named with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guard {
    /// What a watch calls deleted is asked for by name before anybody believes it (`look` in `src/operator/revoker/mod.rs`).
    LookAfterDeleted,
    /// A delete is believed only after a GET, or where the answer is that the object was removed (`end` in `src/operator/revoker/end.rs`).
    LookAfterDelete,
    /// What a foreign finalizer holds is stripped of it, or emptied (`end` in `src/operator/revoker/end.rs`).
    StripOrEmpty,
    /// The name of a binding follows from its request's UID (`binding_name` in `src/api/names.rs`).
    NameFromUid,
    /// What bears the name already is compared before it counts as the grant (`difference` in `src/domain/binding.rs`).
    CompareExisting,
    /// All bindings are looked through, at the start and now and then (`src/operator/revoker/sweep.rs`).
    Sweep,
    /// The request is read from the API server, not from a cache (`evaluate_stored` in
    /// `src/operator/controller/requests/evaluate.rs`).
    ReadRequest,
    /// So are the decisions on it (`gather` in `src/operator/controller/requests/gather.rs`).
    ReadDecisions,
    /// A decision counts for the request whose UID it names, not for the next one of that name (`is_named_by` in
    /// `src/domain/facts.rs`).
    DecisionNamesUid,
    /// The Lease is asked for again right before the grant (`create` in `src/operator/controller/requests/apply.rs`).
    AskLeaseAgain,
    /// No grant is made at or after its own deadline (`DeadlineExceeded` in `src/operator/controller/requests/apply.rs`).
    DeadlineExceeded,
    /// The deadline follows from times that the API server stored (`term` in `src/domain/start.rs`).
    StoredTimes,
    /// A status is written only over the version that was read (`write_status` in `src/operator/controller/requests/apply.rs`).
    StatusVersion,
    /// A replica without the Lease ends what is overdue (`src/operator/revoker/turn.rs`).
    StandbyEnds,
    /// A replica without the Lease takes away what a decision or a deletion calls for (`reconcile_as_standby` in
    /// `src/operator/controller/requests/standby.rs`).
    StandbyRevokes,
    /// A new holder of the Lease looks at everything (`leadership` in `src/operator/controller/follower.rs`).
    LookAtTakeover,
    /// A managed binding whose request is gone, at an end or another one ends (`remove_strays` and `without_request` in
    /// `src/operator/controller/requests/apply.rs`).
    StraysGo,
    /// Decisions of a request that is gone are deleted only if, after they were listed, there still is none of its name
    /// (`without_request` in `src/operator/controller/requests/apply.rs`).
    SecondLook,
    /// A binding that was just created is in the index at once, not only when the watch shows it (`made` in `src/operator/revoker/mod.rs`).
    NoteAtCreation,
    /// Only of a binding that is known to have been made is the next sight no news; after a creation without an answer it is (`create_tracked` in
    /// `src/operator/revoker/mod.rs`).
    ExpectOnlyMade,
    /// A watch that was interrupted lists again, and doubts what the list lacks (`follow` in `src/operator/revoker/mod.rs`).
    Relist,
    /// The webhooks do not see the operator's own writes (matchConditions in `charts/jit-rbac`).
    WebhookSkipsOperator,
    /// A binding is deleted by UID, not only by name (`end` in `src/operator/revoker/end.rs`).
    DeleteByUid,
}
