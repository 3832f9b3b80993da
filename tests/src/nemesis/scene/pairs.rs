//! Every pair and every three of faults, in every order, for every leader and every choice: what is chosen for the last
//! of them can be measured, by a model of who sends what to whom that knows nothing of how it is chosen.

use super::{
    super::{
        asked::Wish,
        fault::{Aim, Kind},
        feeder::Ailment,
        network::Spoil,
    },
    *,
};

const SMALL_DISK: u64 = 2;
/// All that makes a difference among two or three.
const CHOICES: u64 = 6;

fn nodes() -> impl Iterator<Item = Host> {
    (1..=3).map(Host::Node)
}

fn all_well(leader: u64) -> Scene {
    let others = ["alpha", "beta"].map(|name| Host::Maker(name.to_owned()));
    let hosts = nodes().chain([Host::Exchange]).chain(others);
    Scene {
        hosts: hosts.map(|host| (host, Seen { free: true, speaks: true })).collect(),
        leader: Some(leader),
        cut: BTreeSet::new(),
        is_fed: true,
    }
}

/// What a fault hits.
#[derive(Debug, PartialEq)]
enum Target {
    Ended(Vec<Host>),
    Links(Spoil, Vec<Link>),
    Disk(Host),
    Clock(Host),
    Spare(Host),
    Ask,
    Feed(Ailment),
}

fn target(scene: &Scene, kind: Kind, choice: u64) -> Result<Target, Nobody> {
    match kind.aim(choice) {
        Aim::Kill(pick) | Aim::Pause(pick) => scene.pick(pick, choice).map(Target::Ended),
        Aim::Links(shape, spoil) => scene.links(shape, choice).map(|(_, links)| Target::Links(spoil, links)),
        Aim::FullDisk => scene.writes(&Host::Node(SMALL_DISK)).map(|()| Target::Disk(Host::Node(SMALL_DISK))),
        Aim::WrongClock => scene.pick(Pick::Candidate, choice).map(|hosts| Target::Clock(hosts[0].clone())),
        Aim::WipedDisk | Aim::Refusal(Wish::TransferToDead) => {
            scene.pick(Pick::Spare, choice).map(|hosts| Target::Spare(hosts[0].clone()))
        }
        Aim::Refusal(Wish::DeadAddress | Wish::ForeignNode) => scene.serves().map(|()| Target::Ask),
        Aim::Feed(Ailment::Silent) => scene.prices().map(|()| Target::Feed(Ailment::Silent)),
        Aim::Feed(ailment) => scene.tells().map(|()| Target::Feed(ailment)),
    }
}

/// The scene with that fault in it, once for each node that may lead then, and once for none that does yet.
fn after(scene: &Scene, target: &Target) -> Vec<Scene> {
    let mut after = scene.clone();
    let hit = |after: &mut Scene, hosts: &[Host], speaks| {
        for host in hosts {
            after.hosts.insert(host.clone(), Seen { free: false, speaks });
        }
    };
    match target {
        Target::Ended(hosts) => hit(&mut after, hosts, false),
        Target::Links(Spoil::Cut, links) => after.cut.extend(links.iter().cloned()),
        Target::Links(..) => {}
        // The node goes on, and leads it may; or it has ended, for it could not write.
        Target::Disk(host) => hit(&mut after, std::slice::from_ref(host), scene.leader != Some(SMALL_DISK)),
        Target::Clock(host) => hit(&mut after, std::slice::from_ref(host), true),
        // A node without its data takes no part.
        Target::Spare(host) => hit(&mut after, std::slice::from_ref(host), false),
        Target::Ask => {}
        Target::Feed(_) => after.is_fed = false,
    }
    let stands = after.leader.filter(|id| after.speaks(&Host::Node(*id)));
    let elected = (1..=3).filter(|id| leads(&after, &Host::Node(*id), &after.cut));
    let leaders: BTreeSet<Option<u64>> = elected.map(Some).chain([stands, None]).collect();
    leaders.into_iter().map(|leader| Scene { leader, ..after.clone() }).collect()
}

fn leads(scene: &Scene, node: &Host, cut: &BTreeSet<Link>) -> bool {
    let hears = |a: &Host, b: &Host| scene.hosts[a].speaks && !cut.contains(&(a.clone(), b.clone()));
    scene.hosts[node].speaks
        && nodes().filter(|other| other == node || hears(other, node) && hears(node, other)).count() >= 2
}

/// What is sent for certain, while `cut` is cut, by those who lead, who answer, and who ask for votes: one set for each
/// way in which the election may come out.
fn sent(scene: &Scene, cut: &BTreeSet<Link>) -> Vec<BTreeSet<Link>> {
    let speaks = |host: &Host| scene.hosts[host].speaks;
    let heard = |a: &Host, b: &Host| !cut.contains(&(a.clone(), b.clone()));
    let to_all = |host: &Host| from(host, &nodes().collect::<Vec<_>>());
    let under = |leader: Option<&Host>| {
        let mut links = BTreeSet::new();
        for node in nodes().filter(speaks) {
            match leader {
                Some(leader) if *leader != node && heard(leader, &node) => {
                    links.insert((node.clone(), leader.clone()));
                }
                _ => {
                    links.extend(to_all(&node));
                    // Whoever is asked answers.
                    let asked = nodes().filter(|other| *other != node && speaks(other) && heard(&node, other));
                    links.extend(asked.map(|other| (other, node.clone())));
                }
            }
        }
        for other in scene.hosts.keys().filter(|host| !matches!(host, Host::Node(_)) && speaks(host)) {
            match leader {
                Some(leader) => links.extend(both(std::slice::from_ref(other), std::slice::from_ref(leader))),
                None => links.extend(from(other, &nodes().collect::<Vec<_>>())),
            }
        }
        links
    };
    // Who leads now goes on with that for a moment, where it has had somebody to lead.
    let now = scene.leader().filter(|leader| leads(scene, leader, &scene.cut)).map(|leader| under(Some(&leader)));
    let next: Vec<_> = nodes().filter(|node| leads(scene, node, cut)).map(|node| under(Some(&node))).collect();
    match now {
        Some(now) => vec![now],
        None if next.is_empty() => vec![under(None)],
        None => next,
    }
}

fn is_measured(scene: &Scene, target: &Target) -> bool {
    let live = |host: &Host| scene.hosts[host].free && scene.hosts[host].speaks;
    match target {
        Target::Ended(hosts) => !hosts.is_empty() && hosts.iter().all(live),
        Target::Links(spoil, links) => {
            let mut cut = scene.cut.clone();
            if *spoil == Spoil::Cut {
                cut.extend(links.iter().cloned());
            }
            // A link that is cut already shows nothing; nor does a spoilt one that leads to somebody who does not run,
            // while a cut one shows that it was tried.
            let shows =
                |link: &&Link| !scene.cut.contains(*link) && (*spoil == Spoil::Cut || scene.hosts[&link.1].speaks);
            let shown: BTreeSet<Link> = links.iter().filter(shows).cloned().collect();
            sent(scene, &cut).iter().all(|sent| !sent.is_disjoint(&shown))
        }
        Target::Disk(host) => {
            let reached = |leader: &Host| leader == host || !scene.cut.contains(&(leader.clone(), host.clone()));
            live(host) && scene.leader().is_some_and(|leader| leads(scene, &leader, &scene.cut) && reached(&leader))
        }
        Target::Spare(host) => {
            // It is the leader that says so, and it still leads.
            let mut without = scene.clone();
            without.hosts.insert(host.clone(), Seen { free: false, speaks: false });
            let told = |leader: &Host| leader != host && !scene.cut.contains(&(leader.clone(), host.clone()));
            live(host) && scene.leader().is_some_and(|leader| told(&leader) && leads(&without, &leader, &scene.cut))
        }
        Target::Ask => scene.leader().is_some_and(|leader| leads(scene, &leader, &scene.cut)),
        Target::Feed(ailment) => {
            let hears = |a: &Host, b: &Host| {
                let both = [(a.clone(), b.clone()), (b.clone(), a.clone())];
                scene.hosts[a].speaks && scene.hosts[b].speaks && both.iter().all(|link| !scene.cut.contains(link))
            };
            // What is said is answered; what is not said shows where somebody quotes on what is said.
            let quotes = |leader: &Host| {
                let makers = || scene.hosts.keys().filter(|host| matches!(host, Host::Maker(_)));
                leads(scene, leader, &scene.cut)
                    && makers().any(|maker| hears(maker, &Host::Exchange) && hears(maker, leader))
            };
            let shows = *ailment != Ailment::Silent || scene.leader().is_some_and(|leader| quotes(&leader));
            scene.is_fed && scene.hosts[&Host::Exchange].speaks && shows
        }
        Target::Clock(host) => live(host) && scene.leader().as_ref() != Some(host) && leads(scene, host, &scene.cut),
    }
}

/// Goes on with every fault that can begin in these scenes, until so many have begun; tells which never could.
fn try_all(
    scenes: &BTreeSet<Scene>,
    begun: &[Kind],
    depth: usize,
    wrong: &mut Vec<String>,
) -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut never: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for kind in Kind::ALL {
        let targets = scenes.iter().flat_map(|scene| {
            let mut targets: Vec<Target> = Vec::new();
            for target in (0..CHOICES).filter_map(|choice| target(scene, *kind, choice).ok()) {
                if !targets.contains(&target) {
                    targets.push(target);
                }
            }
            targets.into_iter().map(move |target| (scene, target))
        });
        let mut then = BTreeSet::new();
        let mut could = false;
        for (scene, target) in targets {
            could = true;
            if !is_measured(scene, &target) {
                wrong.push(format!("{begun:?}, then {kind}: {target:?} in {scene:?}"));
            }
            if begun.len() + 1 < depth {
                then.extend(after(scene, &target));
            }
        }
        if !could && let Some(last) = begun.last() {
            never.entry(last.name()).or_default().push(kind.name());
        }
        if !then.is_empty() {
            for (first, second) in try_all(&then, &[begun, &[*kind]].concat(), depth, wrong) {
                never.entry(first).or_default().extend(second);
            }
        }
    }
    never
}

/// The third node is as good as the first.
fn beginnings() -> BTreeSet<Scene> {
    [1, 2].map(all_well).into()
}

#[test]
fn whatever_two_faults_hit_already_a_third_is_measured() {
    let mut wrong = Vec::new();
    let _ = try_all(&beginnings(), &[], 3, &mut wrong);
    let first: Vec<_> = wrong.iter().take(3).collect();
    assert!(wrong.is_empty(), "{} of them, such as {first:#?}", wrong.len());
}

/// All other pairs do begin, in that order.
#[test]
fn a_second_fault_does_not_begin_only_where_there_is_nobody_left_for_it() {
    let never = try_all(&beginnings(), &[], 2, &mut Vec::new());
    let all: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    // The leader does without one node, and not without two.
    let spare = ["wiped-disk", "transfer-to-dead"];
    let with_spare = |others: &[&'static str]| [others, &spare].concat();
    // The last node still asks for votes; it is sent nothing, elects nobody, and writes nothing.
    let alone = ["kill-majority", "kill-all", "deaf", "exchange-cut-off", "loss", "delay", "full-disk", "wrong-clock"];
    // Nobody hears the feed; and one thing at a time is wrong with it.
    let feeds = ["feed-dies", "feed-zero", "feed-crosses"];
    let without_exchange = [&["kill-exchange", "pause-exchange", "exchange-cut-off"][..], &feeds].concat();
    let expected: BTreeMap<&str, Vec<&str>> = BTreeMap::from([
        ("kill-leader", with_spare(&["kill-all"])),
        ("kill-follower", with_spare(&["kill-all"])),
        ("kill-majority", [&with_spare(&alone)[..], &["dead-address-added", "foreign-node", "feed-dies"]].concat()),
        ("kill-all", all),
        ("kill-exchange", without_exchange.clone()),
        ("pause-leader", with_spare(&["kill-all"])),
        ("pause-follower", with_spare(&["kill-all"])),
        ("pause-exchange", without_exchange),
        ("leader-isolated", spare.into()),
        ("follower-isolated", spare.into()),
        ("mute", spare.into()),
        ("deaf", spare.into()),
        // The leader that it reaches leads nobody, and no maker hears it.
        ("split-market", [&with_spare(&["exchange-cut-off"])[..], &["feed-dies"]].concat()),
        ("full-disk", vec!["kill-all", "full-disk"]),
        ("wrong-clock", vec!["kill-all"]),
        ("wiped-disk", with_spare(&["kill-all"])),
        ("transfer-to-dead", with_spare(&["kill-all"])),
        ("feed-dies", feeds.into()),
        ("feed-zero", feeds.into()),
        ("feed-crosses", feeds.into()),
    ]);
    assert_eq!(never, expected);
}
