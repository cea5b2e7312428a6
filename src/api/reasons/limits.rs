//! Reasons about limits, starts, extensions and emergencies.

use super::{
    APPLY_REQUEST,
    Example::{Console, Text},
    Explanation,
};

pub const TooManyActive: Explanation = Explanation {
    meaning: "The policy limits how many activations of one person can be active or scheduled at the same time, in all namespaces \
              together. An extension counts as part of what it extends.",
    when: "When a request is created, if the limit is already reached. When it is granted, in the order in which the requests were \
           created.",
    examples: &[Console(
        APPLY_REQUEST,
        &["TooManyActive: 'dev' already has 1 of at most 1 activations under policy 'orders-alone' (spec.limits.maxActivePerUser); end \
             one with a decision Deactivate, or wait for its end"],
    )],
    requester: "Deactivate one (`kubectl jit status`, `kubectl jit deactivate NAME`), or wait until one expires: \
                `kubectl get rar -A --field-selector spec.requester.username=<you>,status.state=Active`.",
    admin: "The number is `apol.spec.limits.maxActivePerUser`. Two user names count as the same person if the chart's `identity` \
            lists them so.",
};

pub const TooManyPending: Explanation = Explanation {
    meaning: "The policy limits how many requests of one person can be pending at the same time. The limit protects the approvers \
              from too many requests.",
    when: "When a request is created, if the limit is already reached. If several requests are created at the same time, the newest \
           ones end as Denied.",
    examples: &[Console(
        APPLY_REQUEST,
        &["TooManyPending: 'dev' already has 1 of at most 1 undecided requests under policy 'orders-lead' \
             (spec.limits.maxPendingPerUser); wait until one is decided, or withdraw one with a decision Deactivate"],
    )],
    requester: "Withdraw what you no longer need (`kubectl jit status`, `kubectl jit deactivate NAME`): \
                `kubectl get rar -A --field-selector spec.requester.username=<you>,status.state=AwaitingApproval`.",
    admin: "The number is `apol.spec.limits.maxPendingPerUser`. If requests wait for a long time, add approvers before you raise the \
            limit.",
};

pub const CooldownActive: Explanation = Explanation {
    meaning: "The policy requires a cooldown: a minimum time between two grants to the same person for the same eligibility and \
              namespace, so that short grants do not add up to standing access.",
    when: "When a request is created, and when it is granted. An emergency skips the cooldown where the policy allows emergencies.",
    examples: &[Console(
        APPLY_REQUEST,
        &[
            "CooldownActive: the grant 'inc-4711' ended at …, and policy 'orders-alone' requires a cooldown of 1h after that (spec.limits.cooldown): the next one may start at …",
        ],
    )],
    requester: "Request again after the cooldown. While a grant is active, you may be able to extend it: `spec.extends`, or \
                `kubectl jit extend`.",
    admin: "The cooldown is `apol.spec.limits.cooldown`. It is counted from the end of the grant, also if the grant ended early.",
};

pub const StartTooFarAhead: Explanation = Explanation {
    meaning: "A request can name a start in the future, but not later than the policy allows. The limit exists because an approver \
              decides on the facts of today.",
    when: "When a request with `spec.startTime` is created.",
    examples: &[Console(
        APPLY_REQUEST,
        &[
            "StartTooFarAhead: a start at 2035-01-01T09:00:00Z was requested; policy 'ticketed' allows one at most 1h ahead, which is … now (spec.limits.maxScheduleAhead)",
        ],
    )],
    requester: "Request an earlier start, or create the request later.",
    admin: "The limit is `apol.spec.limits.maxScheduleAhead`. If the policy does not set it, the limit is 168h.",
};

pub const IdentityTooOld: Explanation = Explanation {
    meaning: "Your groups are recorded when you create the request. If you leave a group before the start, the API server does not \
              report it. So at the start a recorded group that is older than the limit no longer counts; your user name still \
              counts.",
    when: "If the requester is eligible only through a group: when a request is created with a start beyond the limit, and at the \
           start of a scheduled request or of one that was approved late.",
    examples: &[Console(
        APPLY_REQUEST,
        &[
            "IdentityTooOld: 'dev' is eligible by a group membership observed at …, and a start at 2035-01-01T09:00:00Z or later is more than 24h after that, the maximum of policy 'self-service' (spec.limits.maxIdentityAge); request again closer to the start",
        ],
    )],
    requester: "Create a new request closer to the start. It records your current groups.",
    admin: "The limit is `apol.spec.limits.maxIdentityAge` (24h by default). Users whose names are in `rel.spec.subjects` are not \
            affected. See [group membership](../known-limits.md#group-membership-is-known-from-one-moment).",
};

pub const ExtendedRequestNotActive: Explanation = Explanation {
    meaning: "`spec.extends` names an activation that has ended, was never granted, belongs to another user, or is under another \
              eligibility or in another namespace.",
    when: "When a request with `spec.extends` is created, and again when it is granted: an extension is granted only while the \
           request that it extends is active.",
    examples: &[Console(
        APPLY_REQUEST,
        &[
            "ExtendedRequestNotActive: spec.extends names 'inc-4711', which is Deactivated: only an active one can be extended; request a new activation",
        ],
    )],
    requester: "Find the name of the active request with `kubectl get rar -n <namespace>`. `kubectl jit extend` finds it by itself. \
                If the request has ended, create one without `spec.extends`.",
    admin: "Nothing. Tell requesters to extend early enough for the approvers to decide: the grant ends at its end, also while the \
            extension waits.",
};

pub const MaxTotalDurationExceeded: Explanation = Explanation {
    meaning: "The policy limits how long an activation may last together with its extensions.",
    when: "When a request with `spec.extends` is created, and when it is granted. If the limit is lowered below an active grant, the \
           grant is revoked with the reason [DurationNoLongerAllowed](DurationNoLongerAllowed.md).",
    examples: &[Console(
        APPLY_REQUEST,
        &[
            "MaxTotalDurationExceeded: from … to … the activation would last 35m with its extensions, at most 30m is allowed by policy 'orders-alone' (spec.limits.maxTotalDuration): it may end at … at the latest",
        ],
    )],
    requester: "Request a shorter extension, or let the activation end and create a new request.",
    admin: "The limit is `apol.spec.limits.maxTotalDuration`, or the chart's `maxGrant` if the policy sets none or a longer one.",
};

pub const EmergencyNotAllowed: Explanation = Explanation {
    meaning: "An emergency request skips stages, windows and the cooldown. The policy does not allow emergencies, or as many reviews of \
              earlier emergencies are missing as it can record.",
    when: "When a request with `spec.emergency: true` is created.",
    examples: &[
        Console(
            APPLY_REQUEST,
            &["EmergencyNotAllowed: policy 'self-service' does not allow emergencies (spec.emergency.allowed); request without \
               spec.emergency"],
        ),
        Console(
            APPLY_REQUEST,
            &[
                "EmergencyNotAllowed: policy 'orders-lead' has 64 of at most 64 outstanding reviews of emergencies (status.reviewsOwed); ask its reviewers to review the earlier ones, or request without spec.emergency",
            ],
        ),
    ],
    requester: "Request without `spec.emergency`, and call an approver. If you reach no approver, follow your organisation's \
                break-glass procedure.",
    admin: "The settings are `apol.spec.emergency`: `allowed`, `maxDuration`, `reviewers` and `reviewWithin`. Emergencies never skip \
            eligibility, evidence or the maximum.\n\n\
            A policy records each missing review in `apol.status.reviewsOwed`, at most 64 at a time. Ask the reviewers to review the \
            earlier emergencies, and [settle those](ReviewOverdue.md#what-an-admin-can-do) whose requests no longer exist.",
};

pub const ReviewOverdue: Explanation = Explanation {
    meaning: "Every emergency must be reviewed afterwards, by a decision `Review` of one of the policy's reviewers. While the review \
              of one of your emergencies is overdue, you get no further emergency.",
    when: "When a request with `spec.emergency: true` is created, and when it is granted.",
    examples: &[
        Console(
            APPLY_REQUEST,
            &["ReviewOverdue: emergency 'orders/inc-4715' of 'lead-2' was not reviewed in time, and no other one is granted until it is \
                 reviewed; ask a reviewer (group security) for a decision Review, or request without spec.emergency"],
        ),
        Text("A request is deleted with its namespace. The missing review is not: the policy lists it in `status.reviewsOwed`."),
        Console(
            APPLY_REQUEST,
            &["ReviewOverdue: emergency 'orders/inc-4715' of 'lead-2' was not reviewed in time and its request no longer exists, so it \
                 can no longer be reviewed; ask an admin of policy 'orders-lead' to add '0b9f5f6e-3f2a-4c7e-9f58-0f8f8f1b2c3d' to its \
                 annotation 'jitrbac.dev/settled-reviews', or request without spec.emergency"],
        ),
    ],
    requester: "Ask a reviewer to review the earlier emergency. If its request no longer exists, ask an admin of the policy to \
                settle the review. Without `spec.emergency` you can request as usual.",
    admin: "The reviewers are `apol.spec.emergency.reviewers`, the time is `apol.spec.emergency.reviewWithin`. While the request \
            exists, only a reviewer can complete the review. Deleting the request needs the verb `purge`, is recorded in the API \
            server's audit log, and does not complete the review.\n\n\
            If the request no longer exists, read in the API server's [audit log](../audit-log.md) what was done. Then add the \
            request's UID to the annotation `jitrbac.dev/settled-reviews` of the policy. Separate several UIDs by commas. This needs \
            the same right as a change of the policy's spec, and an admin cannot settle a review of their own emergency. The \
            operator then removes the review from `status.reviewsOwed`.\n\n\
            ```console\n\
            $ kubectl annotate --overwrite apol orders-lead jitrbac.dev/settled-reviews=0b9f5f6e-3f2a-4c7e-9f58-0f8f8f1b2c3d\n\
            ```",
};
