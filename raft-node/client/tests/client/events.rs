//! The stream of events: every frame once, in order, over changes of the node.

use std::time::Duration;

use bytes::Bytes;
use quorate_api::{Problem, ProblemKind};
use quorate_client::{EventStream, StreamItem};
use quorate_domain::Millis;
use quorate_ledger::{Digest, Event, Frame};

use crate::group::{Group, Opened};

fn frame(index: u64) -> Frame {
    let event = Event::TermBegan { term: index, graced: 0, quotes_pulled: false, clock_jump_ms: 0 };
    Frame { index, log_time: Millis(10 * index), chain: Digest::of(&index.to_le_bytes()), events: vec![event] }
}

impl Opened {
    fn write(&self, text: &str) {
        let _ = self.pipe.send(Ok(Bytes::copy_from_slice(text.as_bytes())));
    }

    fn frame(&self, index: u64) {
        let data = serde_json::to_string(&frame(index)).unwrap();
        self.write(&format!("id: {index}\nevent: frame\ndata: {data}\n\n"));
    }

    fn applied(&self, index: u64) {
        self.write(&format!("event: applied\ndata: {{\"applied_index\":{index},\"log_time\":{}}}\n\n", 10 * index));
    }

    fn end(&self, problem: &Problem) {
        self.write(&format!("event: end\ndata: {}\n\n", serde_json::to_string(problem).unwrap()));
    }

    fn breaks(self) {
        let _ = self.pipe.send(Err(std::io::Error::other("reset")));
    }
}

async fn next_frame(events: &mut EventStream) -> u64 {
    match events.next().await {
        Some(StreamItem::Frame(got)) => {
            assert_eq!(got, frame(got.index), "as it was sent");
            got.index
        }
        other => panic!("no frame: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_stream_goes_on_elsewhere_after_the_last_frame() {
    let (group, mut opened) = Group::new();
    let mut events = group.client(1).events(5);
    let stream = opened.recv().await.unwrap();
    assert_eq!((stream.host.as_str(), stream.path.as_str()), ("a", "/v1/events?from=5"));
    stream.frame(5);
    stream.frame(6);
    stream.frame(7);
    // Half an event, and then nothing: it does not count.
    stream.write("id: 8\nevent: frame\ndata: {\"index\":8");
    for index in 5..8 {
        assert_eq!(next_frame(&mut events).await, index);
    }
    stream.breaks();
    let stream = opened.recv().await.unwrap();
    assert_eq!((stream.host.as_str(), stream.path.as_str()), ("b", "/v1/events?from=8"));
    // What comes again is passed on once.
    [6, 7, 8, 9].into_iter().for_each(|index| stream.frame(index));
    assert_eq!((next_frame(&mut events).await, next_frame(&mut events).await), (8, 9));
    stream.end(&Problem::new(ProblemKind::NoLeader, "no leader"));
    let stream = opened.recv().await.unwrap();
    assert_eq!((stream.host.as_str(), stream.path.as_str()), ("c", "/v1/events?from=10"));
    stream.frame(10);
    assert_eq!(next_frame(&mut events).await, 10);
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_is_given_up_and_keep_alives_keep_it() {
    let (group, mut opened) = Group::new();
    let mut events = group.client(2).events(5);
    let stream = opened.recv().await.unwrap();
    for _ in 1..20 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        stream.applied(4);
        assert_eq!(events.next().await, Some(StreamItem::Applied { index: 4, log_time: Millis(40) }));
    }
    let before = tokio::time::Instant::now();
    let other = opened.recv().await.unwrap();
    assert!(before.elapsed() >= Duration::from_secs(3) && before.elapsed() < Duration::from_secs(4));
    assert_ne!(other.host, stream.host);
    assert_eq!(other.path, "/v1/events?from=5");
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_and_was_not_seen_means_resync_and_the_end() {
    let (group, mut opened) = Group::new();
    let client = group.client(3);
    let gone = Problem { first_index: Some(50), ..Problem::new(ProblemKind::Gone, "compacted") };
    let body = serde_json::to_vec(&gone).unwrap();
    group.set_reader(move |host, path| {
        assert_eq!((host, path), ("a", "/v1/events?from=5"));
        Ok((410, body.clone()))
    });
    let mut events = client.events(5);
    assert_eq!(events.next().await, Some(StreamItem::Resync { first_index: 50 }));
    assert_eq!(events.next().await, None);
    // The same under way: a snapshot was installed.
    group.set_reader(|_, _| Ok((0, Vec::new())));
    let mut events = client.events(50);
    let stream = opened.recv().await.unwrap();
    stream.frame(50);
    assert_eq!(next_frame(&mut events).await, 50);
    stream.end(&Problem { first_index: Some(60), ..gone });
    assert_eq!(events.next().await, Some(StreamItem::Resync { first_index: 60 }));
    assert_eq!(events.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_and_was_seen_is_not_missed() {
    let (group, mut opened) = Group::new();
    let mut events = group.client(4).events(5);
    let stream = opened.recv().await.unwrap();
    stream.frame(5);
    stream.end(&Problem { first_index: Some(6), ..Problem::new(ProblemKind::Gone, "compacted") });
    let stream = opened.recv().await.unwrap();
    assert_eq!(stream.path, "/v1/events?from=6");
    stream.frame(6);
    assert_eq!((next_frame(&mut events).await, next_frame(&mut events).await), (5, 6));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_a_frame_out_is_not_believed_and_two_mean_resync() {
    let (group, mut opened) = Group::new();
    let mut events = group.client(9).events(5);
    let stream = opened.recv().await.unwrap();
    [5, 7].into_iter().for_each(|index| stream.frame(index));
    let other = opened.recv().await.unwrap();
    assert_eq!((other.host.as_str(), other.path.as_str()), ("b", "/v1/events?from=6"));
    [6, 7, 8, 10].into_iter().for_each(|index| other.frame(index));
    for index in 5..9 {
        assert_eq!(next_frame(&mut events).await, index);
    }
    let other = opened.recv().await.unwrap();
    assert_eq!(other.path, "/v1/events?from=9");
    other.frame(10);
    assert_eq!(events.next().await, Some(StreamItem::Resync { first_index: 10 }));
    assert_eq!(events.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_installed_without_a_first_index_means_asking_again() {
    let (group, mut opened) = Group::new();
    let mut events = group.client(5).events(5);
    let stream = opened.recv().await.unwrap();
    stream.frame(5);
    stream.end(&Problem::new(ProblemKind::Gone, "a snapshot was installed: ask again from the same index"));
    let stream = opened.recv().await.unwrap();
    assert_eq!(stream.path, "/v1/events?from=6");
    stream.frame(6);
    assert_eq!((next_frame(&mut events).await, next_frame(&mut events).await), (5, 6));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_lags_behind_is_left_and_its_word_not_passed_on() {
    let (group, mut opened) = Group::new();
    let mut events = group.client(6).events(101);
    let stream = opened.recv().await.unwrap();
    stream.applied(100);
    assert!(matches!(events.next().await, Some(StreamItem::Applied { index: 100, .. })));
    stream.breaks();
    let lagging = opened.recv().await.unwrap();
    let host = lagging.host.clone();
    let talk = async {
        for _ in 0..10 {
            lagging.applied(40);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let moved = async {
        let stream = opened.recv().await.unwrap();
        stream.applied(100);
        stream
    };
    let ((), stream) = tokio::join!(talk, moved);
    assert_ne!(stream.host, host);
    assert!(matches!(events.next().await, Some(StreamItem::Applied { index: 100, .. })));
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_one_node_stays_with_it() {
    let (group, mut opened) = Group::new();
    let mut events = group.client(7).events_of(2, 3);
    for index in 3..6 {
        let stream = opened.recv().await.unwrap();
        assert_eq!((stream.host.as_str(), stream.path.as_str()), ("c", format!("/v1/events?from={index}").as_str()));
        stream.frame(index);
        assert_eq!(next_frame(&mut events).await, index);
        stream.breaks();
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_slow_holds_the_stream_back_and_loses_nothing() {
    let (group, mut opened) = Group::new();
    let mut events = group.client(8).events(1);
    let stream = opened.recv().await.unwrap();
    (1..=2_000).for_each(|index| stream.frame(index));
    tokio::time::sleep(Duration::from_secs(60)).await;
    for index in 1..=2_000 {
        assert_eq!(next_frame(&mut events).await, index);
    }
    drop(events);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(stream.pipe.is_closed(), "dropping the stream ends the call");
}
