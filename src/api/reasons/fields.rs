//! Reasons about the fields of a request.

use super::{APPLY_POLICY, APPLY_REQUEST, CREATE_DECISION, Example::Console, Explanation};

pub const DurationTooLong: Explanation = Explanation {
    meaning: "The requested duration is longer than the eligibility or the policy allows. The message contains both numbers; the \
              operator never shortens a request by itself. An approver can only shorten a duration.",
    when: "When a request is created, and when the `spec.duration` of an approval is longer than the requested duration.",
    examples: &[Console(
        APPLY_REQUEST,
        &[
            "DurationTooLong: duration 5h was requested, at most 1h is allowed by eligibility 'payments-oncall' (spec.maxDuration); request 1h or less",
            "DurationTooLong: duration 1h is longer than the requested 45m; an approver can only shorten it",
        ],
    )],
    requester: "Request at most what the message allows. Without `spec.duration` you get the default of the eligibility. \
                `kubectl jit can-i ELIGIBILITY -d 1h` checks every rule without creating a request.",
    admin: "Raise the field that the message names: `rel.spec.maxDuration`, `apol.spec.limits.maxDuration` or, for emergencies, \
            `apol.spec.emergency.maxDuration`. All of them apply, and none can be above the chart's `maxGrant`.",
};

pub const DurationTooShort: Explanation = Explanation {
    meaning: "The duration is below the policy's minimum. The cause is the request itself, an approver who shortened it too far, or \
              an eligibility that ends before the minimum duration has passed.",
    when: "When a request or an `Approve` is created. On a request in the state Denied, when the eligibility ends too soon.",
    examples: &[Console(
        APPLY_REQUEST,
        &["DurationTooShort: duration 4m is too short, at least 5m is required by policy 'self-service' (spec.limits.minDuration)"],
    )],
    requester: "Request at least the minimum. You can end the grant early with a decision `Deactivate` \
                (`kubectl jit deactivate NAME`).",
    admin: "The minimum is `apol.spec.limits.minDuration`. If the eligibility ends soon, set a later `rel.spec.endTime`.",
};

pub const JustificationMissing: Explanation = Explanation {
    meaning: "The policy requires a justification, and the request has none. Blanks do not count.",
    when: "When a request is created. An emergency needs a justification under every policy.",
    examples: &[Console(
        APPLY_REQUEST,
        &["JustificationMissing: no justification was given; policy 'self-service' requires one of at least 10 characters in \
             spec.justification"],
    )],
    requester: "Write one line in `spec.justification`, for the approver and for readers of the record a year later. With the \
                plugin: `-r`. The text is stored with the request and on the RoleBinding, and other users can read it. Do not write \
                secrets into it.",
    admin: "The rule is `apol.spec.requirements.justification`.",
};

pub const JustificationTooShort: Explanation = Explanation {
    meaning: "The policy requires a longer justification. Blanks before and after it do not count.",
    when: "When a request is created.",
    examples: &[Console(
        APPLY_REQUEST,
        &["JustificationTooShort: the justification has 1 character; policy 'self-service' requires at least 10"],
    )],
    requester: "Describe what you will do, and why now.",
    admin: "The number of characters is `apol.spec.requirements.justification.minLength`. Ten characters are enough to refuse `x`. \
            With a minimum above thirty, requesters tend to copy one sentence into every request.",
};

pub const JustificationMismatch: Explanation = Explanation {
    meaning: "The policy has a regular expression for the justification. The whole text must match it, not only a part.",
    when: "When a request is created.",
    examples: &[Console(
        APPLY_REQUEST,
        &[
            "JustificationMismatch: the justification does not match '(INC|CHG)-[0-9]+ .*', which policy 'self-service' requires (the whole text must match)",
        ],
    )],
    requester: "Write the text in that form, for example `INC-4711 checkout is slow`. With the plugin: `-r`.",
    admin: "The expression is `apol.spec.requirements.justification.pattern`. If you only need a ticket number, use \
            `apol.spec.requirements.ticket` instead.",
};

pub const AlreadyRequested: Explanation = Explanation {
    meaning: "You already have a request for this eligibility and namespace that is pending, scheduled or active. A second request \
              never replaces the first one.",
    when: "When a request is created. If several requests are created at the same time, the oldest one stays and the others end as \
           Denied.",
    examples: &[Console(
        APPLY_REQUEST,
        &[
            "AlreadyRequested: 'dev' already has the request 'inc-4711' (Active) for this eligibility and namespace; wait for its end, or end it with a decision Deactivate",
        ],
    )],
    requester: "Use the request that you have: `kubectl get rar -n <namespace>`, or `kubectl jit status`. For more time, extend it: \
                `kubectl jit extend NAME`. To request again with another justification or duration, first end it with a decision \
                `Deactivate` (`kubectl jit deactivate NAME`).",
    admin: "Nothing. Two user names count as the same person if the chart's `identity.prefixes` and `identity.aliases` list them so.",
};

pub const InvalidField: Explanation = Explanation {
    meaning: "The value contradicts itself or another field. Examples are a pattern that is not a valid regular expression, two \
              stages with one name, a maximum below the minimum, or a window that ends when it begins.",
    when: "When an eligibility or policy is written, and on its condition `Ready`. On a request only if its policy was stored by \
           another version.",
    examples: &[Console(
        APPLY_POLICY,
        &[
            "InvalidField: spec.requirements.justification.pattern 'INC-(' cannot be used: unclosed group",
            "InvalidField: two stages are named 'leads'; give each stage a unique name",
        ],
    )],
    requester: "If you requested access, send the message to an admin.",
    admin: "Correct the field that the message names. `kubectl explain apol.spec` describes each field. Patterns are those of the \
            Rust crate `regex`: no look-around, no back-references.",
};

pub const ObjectTooLarge: Explanation = Explanation {
    meaning: "The object has more labels, annotations or bytes than are allowed. The limits protect the memory of the webhook and \
              the operator, which read these objects.",
    when: "When a request, decision, eligibility or policy is written. An object that is stored already may stay as large as it is.",
    examples: &[Console(
        CREATE_DECISION,
        &["ObjectTooLarge: the ActivationDecision has 131073 bytes as JSON, at most 131072 are allowed; reduce it"],
    )],
    requester: "Remove labels and annotations. A request or a decision may have 32 of each, with 16384 characters in annotations, \
                and 131072 bytes as JSON. An eligibility or a policy may have 64 of each, with 262144 characters in annotations, and \
                786432 bytes as JSON.",
    admin: "If a tool adds the labels or annotations, configure it to ignore the objects of `jitrbac.dev`.",
};
