//! The form of a history, what survives its recorder, and the page that shows it.

use std::{
    io::{self, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use quorate_api::Problem;
use quorate_client::{Observer, Operation, Returned};
use quorate_domain::Millis;
use quorate_ledger::{Answer, Command, Outcome, Response};

use super::Made;
use crate::history::{
    Check, Violation,
    calls::{BadHistory, History},
    record::{Fault, Got, Line, Op, Recorder, Timer, to_text},
    timeline,
};

/// A file that can be looked at while it is written.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn timer() -> Timer {
    let ticks = AtomicU64::new(0);
    Timer::new(move || ticks.fetch_add(1_000, Ordering::Relaxed))
}

fn response(session: u64) -> Response {
    let outcome = Outcome::Accepted(Answer::SessionOpened { session });
    Response { index: session, log_time: Millis(9), outcome }
}

#[test]
fn the_form_of_each_line_is_pinned() {
    let out = Shared::default();
    let recorder = Recorder::writing("ada", timer(), Box::new(out.clone()));
    recorder.invoked(1, &Operation::Command(&Command::OpenSession));
    recorder.returned(1, &Returned::Response(&response(4)));
    recorder.invoked(2, &Operation::Command(&Command::CloseSession));
    recorder.returned(2, &Returned::Unknown(&Problem::unknown("lost")));
    recorder.invoked(3, &Operation::Settle { of: 2, session: 4, seq: 1 });
    recorder.invoked(4, &Operation::Read("/v1/positions"));
    recorder.returned(4, &Returned::Read { node: "http://n", body: b"{\"data\":[]}" });
    recorder.invoked(5, &Operation::Read("/v1/quotes"));
    recorder.returned(5, &Returned::Read { node: "http://n", body: b"<" });
    let unknown = serde_json::to_string(&Problem::unknown("lost")).unwrap();
    let expected = format!(
        r#"{{"t":"history","version":1}}
{{"t":"invoke","at":0,"client":"ada","call":1,"op":{{"command":"open_session"}}}}
{{"t":"return","at":1000,"client":"ada","call":1,"got":{{"response":{{"index":4,"log_time":9,"outcome":{{"accepted":{{"session_opened":{{"session":4}}}}}}}}}}}}
{{"t":"invoke","at":2000,"client":"ada","call":2,"op":{{"command":"close_session"}}}}
{{"t":"return","at":3000,"client":"ada","call":2,"got":{{"unknown":{unknown}}}}}
{{"t":"invoke","at":4000,"client":"ada","call":3,"op":{{"settle":{{"of":2,"session":4,"seq":1}}}}}}
{{"t":"invoke","at":5000,"client":"ada","call":4,"op":{{"read":"/v1/positions"}}}}
{{"t":"return","at":6000,"client":"ada","call":4,"got":{{"read":{{"node":"http://n","answer":{{"data":[]}}}}}}}}
{{"t":"invoke","at":7000,"client":"ada","call":5,"op":{{"read":"/v1/quotes"}}}}
{{"t":"return","at":8000,"client":"ada","call":5,"got":{{"unreadable":{{"node":"http://n","body":"<"}}}}}}
"#
    );
    assert_eq!(out.text(), expected);
    assert_eq!(to_text(&recorder.take().unwrap()).unwrap(), expected);
}

#[test]
fn a_history_survives_being_written_and_read() {
    let made = Made::correct(5, 1_500);
    let history = made.history();
    let read = History::parse(&to_text(&history.lines()).unwrap()).unwrap();
    assert_eq!(read.calls, history.calls);
    assert!(crate::history::check(&read, &made.frames).unwrap().passed());
}

#[test]
fn a_recorder_killed_while_it_writes_leaves_calls_open_and_never_failed() {
    let out = Shared::default();
    let recorder = Recorder::writing("ada", timer(), Box::new(out.clone()));
    recorder.invoked(1, &Operation::Command(&Command::OpenSession));
    let invoked = out.text().len();
    recorder.returned(1, &Returned::Response(&response(4)));
    let whole = out.text();
    for cut in invoked..whole.len() {
        let history = History::parse(&whole[..cut]).unwrap();
        assert_eq!((history.calls.len(), history.calls[0].got.clone()), (1, None), "cut at {cut}");
        assert_eq!(history.writes()[0].returned, None);
    }
    assert!(History::parse(&whole).unwrap().calls[0].got.is_some());
}

#[test]
fn a_recorder_that_cannot_write_says_so() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::other("no space"))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let recorder = Recorder::writing("ada", timer(), Box::new(Full));
    recorder.invoked(1, &Operation::Command(&Command::OpenSession));
    assert!(recorder.take().is_err());
}

#[test]
fn lines_that_do_not_fit_together_are_refused() {
    let invoke = |at, call| Line::Invoke { at, client: "a".into(), call, op: Op::Command(Command::OpenSession) };
    let back = |at, call| Line::Return { at, client: "a".into(), call, got: Got::Response(response(4)) };
    let refused: [Vec<Line>; 5] = [
        vec![invoke(1, 1), invoke(2, 1)],
        vec![back(1, 1)],
        vec![invoke(1, 1), back(2, 1), back(3, 1)],
        vec![invoke(5, 1), back(4, 1)],
        vec![Line::History { version: 2 }],
    ];
    for lines in refused {
        assert!(History::of(lines.clone()).is_err(), "{lines:?}");
    }
    assert!(matches!(History::parse("{\"t\":\"nonsense\"}\n"), Err(BadHistory::Form { line: 1, .. })));
}

#[test]
fn a_failure_is_kept_with_a_page_that_runs_nothing() {
    let mut made = Made::correct(6, 1_000);
    let evil = "<script>alert('x' & \"y\")</script>\u{0}";
    made.lines.push(Line::Fault(Fault { at: 5_000_000, until: None, what: evil.to_owned() }));
    let op = Op::Read(format!("/v1/{evil}"));
    made.lines.push(Line::Invoke { at: 1, client: evil.to_owned(), call: 1, op });
    let history = made.history();
    let at = history.calls.iter().position(|call| call.client == evil).unwrap();
    let violation = Violation { check: Check::Local, what: evil.to_owned(), calls: vec![at, usize::MAX] };

    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("failure");
    timeline::keep(&kept, &history, &made.frames, &[violation]).unwrap();

    let page = std::fs::read_to_string(kept.join("timeline.html")).unwrap();
    assert!(!page.contains("<script") && !page.contains("src=") && !page.contains('\u{0}'));
    assert!(page.contains("&lt;script&gt;alert(&#39;x&#39; &amp; &quot;y&quot;)&lt;/script&gt;"));
    assert!(page.contains("class=\"unknown wrong\"") && page.contains("class=\"fault\"") && page.contains("#1</text>"));
    let text = std::fs::read_to_string(kept.join("history.jsonl")).unwrap();
    assert_eq!(History::parse(&text).unwrap().calls, history.calls);
    let frames = std::fs::read_to_string(kept.join("frames.jsonl")).unwrap();
    assert_eq!(frames.lines().count(), made.frames.len());
    assert!(std::fs::read_to_string(kept.join("violations.txt")).unwrap().starts_with("local: "));
}

#[test]
fn a_long_history_is_drawn_around_its_violation() {
    let invoke = |at: u64| Line::Invoke { at, client: "a".into(), call: at, op: Op::Read("/v1/quotes".into()) };
    let count = 3 * u64::try_from(timeline::DRAWN_MAX).unwrap();
    let history = History::of((1..=count).map(invoke)).unwrap();
    let marked = history.calls.len() / 2;
    let page = timeline::page(&history, &[Violation { check: Check::Order, what: "x".into(), calls: vec![marked] }]);
    assert_eq!(page.matches("<rect class=\"unknown").count(), timeline::DRAWN_MAX);
    assert!(page.contains("class=\"unknown wrong\""));
}
