//! The guards of the product that can be disabled, one by one.

/// A guard. Each is one or a few lines of the product; the comment names the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guard {
    /// A binding that a watch reports as deleted is read by name before it counts as deleted (`look` in `src/operator/revoker/mod.rs`).
    LookAfterDeleted,
    /// A delete counts only after a GET, or where the response is that the object was removed (`end` in `src/operator/revoker/end.rs`).
    LookAfterDelete,
    /// A binding that a foreign finalizer holds is stripped of it, or emptied (`end` in `src/operator/revoker/end.rs`).
    StripOrEmpty,
    /// The name of a binding follows from its request's UID (`binding_name` in `src/api/names.rs`).
    NameFromUid,
    /// An existing binding of that name is compared before it counts as the grant (`difference` in `src/domain/binding.rs`).
    CompareExisting,
    /// All bindings are listed, at the start and periodically (`src/operator/revoker/sweep.rs`).
    Sweep,
    /// The request is read from the API server, not from a cache (`evaluate_stored` in `src/operator/controller/requests/evaluate.rs`).
    ReadRequest,
    /// So are the decisions on it (`gather` in `src/operator/controller/requests/gather.rs`).
    ReadDecisions,
    /// A decision counts for the request whose UID it names, not for the next one of that name (`is_named_by` in `src/domain/facts.rs`).
    DecisionNamesUid,
    /// The Lease is verified again right before the grant (`create` in `src/operator/controller/requests/apply.rs`).
    AskLeaseAgain,
    /// No grant is made at or after its own deadline (`DeadlineExceeded` in `src/operator/controller/requests/apply.rs`).
    DeadlineExceeded,
    /// The deadline follows from times that the API server stored (`term` in `src/domain/start.rs`).
    StoredTimes,
    /// A status is written only if the `resourceVersion` is the one that was read (`write_status` in
    /// `src/operator/controller/requests/apply.rs`).
    StatusVersion,
    /// A replica without the Lease ends overdue bindings (`src/operator/revoker/turn.rs`).
    StandbyEnds,
    /// A replica without the Lease removes a binding after a decision against the request or its deletion (`reconcile_as_standby` in
    /// `src/operator/controller/requests/standby.rs`).
    StandbyRevokes,
    /// A new holder of the Lease requeues everything (`leadership` in `src/operator/controller/follower.rs`).
    LookAtTakeover,
    /// A managed binding whose request is deleted, completed or another one is removed (`remove_strays` and `without_request` in
    /// `src/operator/controller/requests/apply.rs`).
    StraysGo,
    /// Decisions on a deleted request are deleted only if, after they were listed, there still is no request of its name (`without_request`
    /// in `src/operator/controller/requests/apply.rs`).
    SecondLook,
    /// A binding that was just created is in the index at once, not only after its watch event (`made` in `src/operator/revoker/mod.rs`).
    NoteAtCreation,
    /// The next event of a binding is ignored only if the binding is known to have been created; after a create without a response it is
    /// not ignored (`create_tracked` in `src/operator/revoker/mod.rs`).
    ExpectOnlyMade,
    /// A watch that was interrupted lists again, and the bindings that the list lacks are verified (`follow` in
    /// `src/operator/revoker/mod.rs`).
    Relist,
    /// The webhooks do not receive the operator's own writes (matchConditions in `charts/jit-rbac`).
    WebhookSkipsOperator,
    /// A binding is deleted by UID, not only by name (`end` in `src/operator/revoker/end.rs`).
    DeleteByUid,
}
