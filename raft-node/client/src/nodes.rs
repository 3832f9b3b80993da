//! Which node to call. Any node answers any call, so a wrong choice costs a hop, never the truth.
//!
//! Invariant: the configured endpoints keep their places, so that an index names the same one always.

use std::sync::{Mutex, MutexGuard, PoisonError};

use quorate_api::ClusterView;
use tokio::time::Instant;

use crate::config::{ENDPOINTS_MAX, FAILED_MEMORY, TOPOLOGY_REFRESH};

/// The nodes known, and the one that is called first.
#[derive(Debug)]
pub(crate) struct Nodes {
    configured: usize,
    discover: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    nodes: Vec<Known>,
    preferred: usize,
    looked: Option<Instant>,
}

#[derive(Debug)]
struct Known {
    base: String,
    id: Option<u64>,
    failed: Option<Instant>,
}

/// A node to call.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    at: usize,
    /// `http://host:port`.
    pub(crate) base: String,
}

impl Nodes {
    pub(crate) fn new(endpoints: &[String], discover: bool) -> Self {
        let known = |base: &String| Known { base: base.trim_end_matches('/').to_owned(), id: None, failed: None };
        let nodes: Vec<_> = endpoints.iter().map(known).collect();
        Self { configured: nodes.len(), discover, state: Mutex::new(State { nodes, preferred: 0, looked: None }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many were configured.
    pub(crate) fn configured(&self) -> usize {
        self.configured
    }

    /// The node to call first.
    pub(crate) fn preferred(&self) -> Target {
        let state = self.state();
        Target { at: state.preferred, base: state.nodes[state.preferred].base.clone() }
    }

    /// A configured endpoint; those past the last are the last.
    pub(crate) fn configured_at(&self, at: usize) -> Target {
        let at = at.min(self.configured - 1);
        Target { at, base: self.state().nodes[at].base.clone() }
    }

    /// A call at `target` failed: the one that failed longest ago comes next, then the one after it.
    pub(crate) fn failed(&self, target: &Target, leader: Option<u64>, now: Instant) {
        let mut state = self.state();
        if !state.is(target) {
            return;
        }
        state.nodes[target.at].failed = Some(now);
        if state.preferred == target.at {
            let count = state.nodes.len();
            let others = (1..count).map(|step| (target.at + step) % count);
            // `min_by_key` keeps the first of equals; a node that never failed comes before all.
            if let Some(next) = others.min_by_key(|at| state.nodes[*at].failed) {
                state.preferred = next;
            }
        }
        if let Some(leader) = leader {
            state.prefer_id(leader, now);
        }
    }

    /// A call at `target` was answered.
    pub(crate) fn answered(&self, target: &Target) {
        let mut state = self.state();
        if state.is(target) {
            state.nodes[target.at].failed = None;
        }
    }

    /// Whether it is time to look at the members again; the caller that hears yes does.
    pub(crate) fn look_due(&self, now: Instant) -> bool {
        let mut state = self.state();
        let due = state.looked.is_none_or(|looked| now >= looked + TOPOLOGY_REFRESH);
        if due {
            state.looked = Some(now);
        }
        due
    }

    /// What `target`, which is node `node_id`, says of the group.
    pub(crate) fn learn(&self, target: &Target, node_id: u64, view: &ClusterView, now: Instant) {
        let mut state = self.state();
        if state.is(target) {
            state.nodes[target.at].id = Some(node_id);
        }
        if self.discover {
            state.discover(self.configured, view);
        }
        if let Some(leader) = view.leader {
            state.prefer_id(leader, now);
        }
    }
}

impl State {
    /// Whether the target is still in its place: discovered nodes come and go.
    fn is(&self, target: &Target) -> bool {
        self.nodes.get(target.at).is_some_and(|node| node.base == target.base)
    }

    fn prefer_id(&mut self, id: u64, now: Instant) {
        let usable = |node: &Known| node.failed.is_none_or(|failed| now >= failed + FAILED_MEMORY);
        if let Some(at) = self.nodes.iter().position(|node| node.id == Some(id) && usable(node)) {
            self.preferred = at;
        }
    }

    fn discover(&mut self, configured: usize, view: &ClusterView) {
        let preferred = self.nodes[self.preferred].base.clone();
        let is_member = |node: &Known| view.members.iter().any(|member| Some(member.node_id) == node.id);
        let gone: Vec<bool> =
            self.nodes.iter().enumerate().map(|(at, node)| at >= configured && !is_member(node)).collect();
        let mut gone = gone.into_iter();
        self.nodes.retain(|_| !gone.next().unwrap_or(false));
        for member in &view.members {
            let base = format!("http://{}", member.api_addr);
            if let Some(node) = self.nodes.iter_mut().find(|node| node.base == base) {
                node.id = Some(member.node_id);
            } else if !self.nodes.iter().any(|node| node.id == Some(member.node_id))
                && self.nodes.len() < ENDPOINTS_MAX
                && base.parse::<http::Uri>().is_ok()
            {
                self.nodes.push(Known { base, id: Some(member.node_id), failed: None });
            }
        }
        self.preferred = self.nodes.iter().position(|node| node.base == preferred).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use quorate_api::MemberView;

    use super::*;

    fn nodes() -> Nodes {
        Nodes::new(&["http://a:1".into(), "http://b:2".into(), "http://c:3".into()], true)
    }

    fn view(leader: Option<u64>, members: &[(u64, &str)]) -> ClusterView {
        let member = |(node_id, api_addr): &(u64, &str)| MemberView {
            node_id: *node_id,
            peer_addr: "p:1".into(),
            api_addr: (*api_addr).to_owned(),
            store_id: quorate_api::StoreId::new(1),
            voter: true,
            matched_index: None,
        };
        let members = members.iter().map(member).collect();
        ClusterView { cluster_id: "quorate".into(), leader, term: 1, members, ..ClusterView::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_node_is_left_for_the_next_and_not_gone_back_to_on_hearsay() {
        let nodes = nodes();
        let now = Instant::now();
        let group = view(Some(2), &[(1, "a:1"), (2, "b:2"), (3, "c:3")]);
        nodes.learn(&nodes.preferred(), 1, &group, now);
        assert_eq!(nodes.preferred().base, "http://b:2");
        nodes.failed(&nodes.preferred(), None, now);
        assert_eq!(nodes.preferred().base, "http://c:3");
        nodes.failed(&nodes.preferred(), Some(2), now);
        assert_eq!(nodes.preferred().base, "http://a:1", "b failed a moment ago");
        let later = now + FAILED_MEMORY;
        nodes.failed(&nodes.preferred(), Some(2), later);
        assert_eq!(nodes.preferred().base, "http://b:2");
    }

    #[tokio::test(start_paused = true)]
    async fn members_that_join_are_called_and_those_that_left_are_not_but_the_configured_stay() {
        let nodes = nodes();
        let now = Instant::now();
        nodes.learn(&nodes.preferred(), 1, &view(Some(4), &[(1, "a:1"), (4, "d:4")]), now);
        assert_eq!(nodes.preferred().base, "http://d:4");
        let stale = nodes.preferred();
        nodes.learn(&nodes.configured_at(0), 1, &view(Some(1), &[(1, "a:1")]), now);
        assert_eq!(nodes.preferred().base, "http://a:1");
        nodes.failed(&stale, None, now);
        assert_eq!(nodes.preferred().base, "http://a:1", "what left has no say");
        assert_eq!(nodes.configured_at(2).base, "http://c:3");
    }

    #[tokio::test(start_paused = true)]
    async fn without_discovery_only_the_configured_are_called() {
        let nodes = Nodes::new(&["http://a:1".into()], false);
        nodes.learn(&nodes.preferred(), 1, &view(Some(4), &[(1, "a:1"), (4, "d:4")]), Instant::now());
        assert_eq!(nodes.preferred().base, "http://a:1");
    }
}
