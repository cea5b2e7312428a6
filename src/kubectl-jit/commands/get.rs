//! `kubectl jit get NAME`: a request as a tree, with its decisions, binding and timeline.

use clap::Args;
use kube::ResourceExt;

use crate::{
    flags::Output,
    follow::follow_until,
    goal::Goal,
    objects,
    paint::Paint,
    problem::{Exit, Problem},
    read::{created, placed, requester, state},
    screen::Screen,
    session::Session,
    times::short,
    words,
};
use api::{ActivationDecision, RoleActivationRequest, State, Verb, names::binding_name};
use domain::emergency;

/// Shows a request as a tree.
///
/// With its eligibility, approval, decisions, binding and timeline.
#[derive(Debug, Args)]
pub struct Options {
    /// Name of the request, as NAME or NAMESPACE/NAME.
    #[arg(value_name = "NAME")]
    name: String,
    /// Print it again after each change, until the request is completed; the exit code is the outcome.
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    output: Output,
}

/// Shows the request.
pub async fn run(options: &Options, session: &Session) -> Result<Exit, Problem> {
    one(session, &options.name, options.watch, options.output).await
}

/// Shows one request, for `get` and `status NAME`.
pub async fn one(session: &Session, name: &str, watch: bool, output: Output) -> Result<Exit, Problem> {
    let (namespace, name) = placed(name, &session.namespace()?);
    let request = session.request(&namespace, name).await?;
    print(session, &request, output).await?;
    if !watch {
        return Ok(Exit::Done);
    }
    let mut last = request;
    while !state(&last).is_terminal() && session.screen.is_read() {
        let before = last.resource_version();
        let changed = |request: &RoleActivationRequest| request.resource_version() != before || state(request).is_terminal();
        last = follow_until(session, (&namespace, &last.name_any()), None, ("changed", changed), |_, _| ()).await?;
        if output.is_table() {
            session.screen.data("");
        }
        print(session, &last, output).await?;
    }
    Ok(Goal::Ended.exit(&last))
}

async fn print(session: &Session, request: &RoleActivationRequest, output: Output) -> Result<(), Problem> {
    if let Some(text) = objects::printed_one(request, output.output)? {
        session.screen.data(&text);
        return Ok(());
    }
    let (namespace, name) = (request.namespace().unwrap_or_default(), request.name_any());
    let decisions = session.decisions(&namespace, &name).await?;
    let extensions = session.extensions_of(request, false).await?;
    session.screen.data(&tree(&session.screen, request, &decisions, &extensions));
    Ok(())
}

/// A line of the tree, and its children.
struct Node {
    text: String,
    paint: Paint,
    below: Vec<Node>,
}

impl Node {
    fn new(text: impl Into<String>, paint: Paint) -> Self {
        Self { text: text.into(), paint, below: Vec::new() }
    }

    fn lines(&self, screen: &Screen, first: &str, rest: &str, into: &mut Vec<String>) {
        into.push(format!("{first}{}", screen.on_stdout(&self.text, self.paint)));
        for (i, node) in self.below.iter().enumerate() {
            let last = i + 1 == self.below.len();
            let (branch, beyond) = if last { ("└── ", "    ") } else { ("├── ", "│   ") };
            node.lines(screen, &format!("{rest}{branch}"), &format!("{rest}{beyond}"), into);
        }
    }
}

fn tree(
    screen: &Screen,
    request: &RoleActivationRequest,
    decisions: &[ActivationDecision],
    extensions: &[RoleActivationRequest],
) -> String {
    let (mark, paint) = words::mark(state(request));
    let emergency = if request.spec.emergency { " EMERGENCY" } else { "" };
    let running = extensions.iter().filter(|later| state(later) == State::Active);
    let longest = running.filter_map(|later| later.status.as_ref()?.expires_at).max();
    let longer = longest.map(|at| format!(", with its extension until {}", screen.times.until(at))).unwrap_or_default();
    let text = format!("{mark} {}{emergency} {}{longer}", request.name_any(), words::outcome(request, &screen.times));
    let mut root = Node::new(text, paint);
    root.below = children(screen, request, decisions);
    let place = root.below.iter().position(|node| node.text == "timeline").unwrap_or(root.below.len());
    let extended = extensions.iter().map(|later| {
        let (mark, paint) = words::mark(state(later));
        Node::new(format!("{mark} extended by {}: {}", later.name_any(), words::outcome(later, &screen.times)), paint)
    });
    root.below.splice(place..place, extended);
    let mut lines = Vec::new();
    root.lines(screen, "", "", &mut lines);
    lines.join("\n")
}

fn children(screen: &Screen, request: &RoleActivationRequest, decisions: &[ActivationDecision]) -> Vec<Node> {
    let (spec, status) = (&request.spec, request.status.clone().unwrap_or_default());
    let why = spec.justification.as_ref().map(|why| format!(": \"{why}\"")).unwrap_or_default();
    let age = short(screen.times.now().duration_since(created(request)));
    let mut nodes = vec![
        Node::new(format!("requested {age} ago by {}{why}", requester(request)), Paint::Plain),
        Node::new(format!("RoleEligibility {}", spec.eligibility_ref.name), Paint::Plain),
    ];
    if let Some(base) = spec.base() {
        nodes.push(Node::new(format!("extends {base}"), Paint::Plain));
    }
    let ticket = words::ticket(request);
    if !ticket.is_empty() {
        nodes.push(Node::new(format!("ticket {ticket}"), Paint::Plain));
    }
    if status.awaiting.is_some() {
        nodes.push(Node::new(format!("◷ approval {}", words::waits_for(request, &screen.times)), Paint::Waits));
    }
    nodes.extend(decisions.iter().map(|decision| decided(screen, decision)));
    if let Some(binding) = &status.binding_ref {
        let there = state(request) == State::Active;
        let (mark, paint) = if there { ("✔", Paint::Good) } else { ("○", Paint::Dim) };
        let name = if binding.name.is_empty() { binding_name(&request.uid().unwrap_or_default()) } else { binding.name.clone() };
        let gone = status.ended_at.filter(|_| !there).map(|at| format!(", removed at {}", screen.times.exact(at))).unwrap_or_default();
        nodes.push(Node::new(format!("{mark} RoleBinding {name}{gone}"), paint));
    }
    if let Some(review) = &status.review {
        nodes.push(Node::new(format!("review: {}", emergency::describe(review)), Paint::Waits));
    }
    if !status.timeline.is_empty() {
        let mut timeline = Node::new("timeline", Paint::Plain);
        let widest = status.timeline.iter().map(|entry| crate::table::width(entry.actor.as_str())).max().unwrap_or(0).min(40);
        timeline.below = status
            .timeline
            .iter()
            .map(|entry| {
                let message = screen.times.sentence(entry.message.as_str());
                let text = format!("{}  {:<widest$}  {message}", screen.times.exact(entry.time), entry.actor.as_str());
                Node::new(text, Paint::Plain)
            })
            .collect();
        nodes.push(timeline);
    }
    nodes
}

fn decided(screen: &Screen, decision: &ActivationDecision) -> Node {
    let who = decision.spec.decider.as_ref().map(|stamp| stamp.username.to_string()).unwrap_or_default();
    let comment = decision.spec.comment.as_ref().map(|comment| format!(": \"{comment}\"")).unwrap_or_default();
    let shorter = decision.spec.duration.map(|length| format!(" for {length}")).unwrap_or_default();
    let (mark, paint) = match decision.spec.decision {
        Verb::Approve | Verb::Review => ("✔", Paint::Good),
        Verb::Deny | Verb::Revoke => ("✖", Paint::Bad),
        Verb::Deactivate => ("○", Paint::Dim),
    };
    let at = screen.times.clock(created(decision));
    Node::new(
        format!("{mark} ActivationDecision {} {}{shorter} by {who} at {at}{comment}", decision.name_any(), decision.spec.decision),
        paint,
    )
}
