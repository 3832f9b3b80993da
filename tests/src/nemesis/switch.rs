//! The nodes' own fault switch, kept at what it should be: a node forgets it when it starts again.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::{network::Link, proxy::peers};
use crate::harness::Cluster;

/// How long a node may take for an answer; a paused one is asked again at the next look.
const ANSWER_MAX: Duration = Duration::from_millis(500);
/// What a node calls the count of what its switch made vanish.
const COUNTED: &str = "quorate_faults_dropped_total ";

#[derive(Debug)]
struct Cut {
    links: Vec<(u64, u64)>,
    before: u64,
}

#[derive(Debug, Default)]
pub(super) struct Switch {
    http: reqwest::Client,
    next: u64,
    cuts: BTreeMap<u64, Cut>,
    /// What each node counted when it was last asked; it starts at 0 with its process.
    counted: BTreeMap<u64, u64>,
    /// What each node counted in all.
    dropped: BTreeMap<u64, u64>,
}

impl Switch {
    pub(super) fn cut(&mut self, links: &[Link]) -> u64 {
        self.next += 1;
        let links = peers(links);
        let before = self.sum(&links);
        self.cuts.insert(self.next, Cut { links, before });
        self.next
    }

    pub(super) fn mend(&mut self, id: u64) {
        self.cuts.remove(&id);
    }

    fn sum(&self, links: &[(u64, u64)]) -> u64 {
        let ends = |id: &u64| links.iter().any(|(from, to)| from == id || to == id);
        self.dropped.iter().filter(|(id, _)| ends(id)).map(|(_, count)| count).sum()
    }

    /// Calls that vanished since that cut, at the nodes that it concerns.
    pub(super) fn dropped(&self, id: u64) -> u64 {
        self.cuts.get(&id).map_or(0, |cut| self.sum(&cut.links).saturating_sub(cut.before))
    }

    /// Sets the switches of all nodes that answer, and reads what they counted.
    pub(super) async fn keep(&mut self, cluster: &Cluster) {
        for id in cluster.ids() {
            let all = || self.cuts.values().flat_map(|cut| &cut.links);
            let to: Vec<u64> = all().filter(|(from, _)| *from == id).map(|(_, to)| *to).collect();
            let from: Vec<u64> = all().filter(|(_, to)| *to == id).map(|(from, _)| *from).collect();
            let wanted = json!({"drop_to": to, "drop_from": from});
            // A node that does not answer is asked again at the next look.
            if let Some(counted) = self.set(&cluster.api(id), &wanted).await {
                let last = self.counted.insert(id, counted).unwrap_or(0);
                *self.dropped.entry(id).or_default() += counted.checked_sub(last).unwrap_or(counted);
            }
        }
    }

    async fn set(&self, api: &str, wanted: &Value) -> Option<u64> {
        let url = format!("{api}/v1/faults");
        let answer = self.http.get(&url).timeout(ANSWER_MAX).send().await.ok()?.bytes().await.ok()?;
        if serde_json::from_slice::<Value>(&answer).ok()? != *wanted {
            let request = self.http.post(&url).timeout(ANSWER_MAX).header("content-type", "application/json");
            request.body(wanted.to_string()).send().await.ok()?;
        }
        let answer = self.http.get(format!("{api}/metrics")).timeout(ANSWER_MAX).send().await.ok()?;
        let text = String::from_utf8(answer.bytes().await.ok()?.to_vec()).ok()?;
        text.lines().find_map(|line| line.strip_prefix(COUNTED)?.parse().ok())
    }
}
