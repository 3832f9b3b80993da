//! The one who reads and follows: linearizable and local reads at any node, and a stream of all events.

use std::{sync::Arc, time::Duration};

use quorate_client::{Client, ReadOptions, StreamItem};
use rand::Rng;
use tokio::time::sleep;

use crate::{
    clock::Machine,
    note,
    operator::client,
    process::{Process, Who},
    sim::Sim,
};

/// The stream of the seed that reads are drawn from.
const READ_STREAM: u64 = 0x7265_6164;

/// Begins to read and to follow, until the run ends. What is answered is judged on its way.
pub fn begin(sim: &Arc<Sim>) {
    let machine = Machine::new(sim.zero, 0, 0);
    let process = Process::start(Who::Reader, 1, sim.process_seed(Who::Reader, 1), &machine, &sim.net, |_| {});
    let client = client(sim, &process);
    process.world.tasks.spawn(read(Arc::clone(sim), client.clone()));
    process.world.tasks.spawn(follow(Arc::clone(sim), client));
}

async fn read(sim: Arc<Sim>, client: Client) {
    let mut rng = sim.plan.part(READ_STREAM);
    loop {
        sleep(Duration::from_millis(rng.random_range(20..=400))).await;
        let node = rng.random_range(0..client.endpoints());
        let options = match rng.random_range(0..3) {
            0 => ReadOptions::linearizable(),
            1 => ReadOptions { node: Some(node), ..ReadOptions::linearizable() },
            _ => ReadOptions::local(node),
        };
        let options = options.within(Duration::from_millis(800));
        let ok = match rng.random_range(0..3) {
            0 => client.exposure(&options).await.is_ok(),
            1 => client.authority(&options).await.is_ok(),
            _ => client.positions(None, &options).await.is_ok(),
        };
        sim.count(if ok { "reads answered" } else { "reads failed" });
    }
}

async fn follow(sim: Arc<Sim>, client: Client) {
    let mut stream_number = 1;
    let mut from = 1;
    loop {
        let mut stream = client.events(from);
        while let Some(item) = stream.next().await {
            match item {
                StreamItem::Frame(frame) => sim.checks().streamed(stream_number, &frame),
                StreamItem::Applied { .. } => {}
                StreamItem::Resync { first_index } => {
                    note!(sim.trace, "rd: resync at {first_index}");
                    sim.count("streams begun anew");
                    from = first_index;
                }
            }
        }
        stream_number += 1;
    }
}
