//! The page in a browser, with requests that it sees come.

use std::process::Command;

use crate::browser::browse;
use crate::client::Client;
use crate::gateway::{Setup, scratch};
use crate::scene::{Inspected, TOKEN, busy, filters, quick};

#[track_caller]
fn page(test: &str, setup: &Setup, flags: &[&str], more: &[(&str, &str)]) -> Inspected {
    let inspected = Inspected::serve(setup, flags);
    let admin = inspected.admin.to_string();
    let gateway = inspected.gateway.to_string();
    let mut known = vec![("ADMIN", admin.as_str()), ("GATEWAY", gateway.as_str())];
    known.extend(more);
    browse("page.mjs", test, &known);
    inspected
}

#[test]
fn the_list_shows_requests_as_they_come() {
    page("theListShowsRequestsAsTheyCome", &filters(), &[], &[]);
}

#[test]
fn the_waterfall_shows_every_hostcall() {
    page("theWaterfallShowsEveryHostcall", &busy(), &[], &[]);
}

#[test]
fn what_each_filter_changed_is_shown() {
    page("whatEachFilterChangedIsShown", &busy(), &[], &[]);
}

#[test]
fn a_filter_narrows_the_list() {
    page("aFilterNarrowsTheList", &filters(), &[], &[]);
}

#[test]
fn a_pause_holds_new_requests_back() {
    page("aPauseHoldsNewRequestsBack", &quick(), &[], &[]);
}

#[test]
fn a_request_is_sent_again() {
    page("aRequestIsSentAgain", &filters(), &[], &[]);
}

#[test]
fn everything_works_by_keyboard_alone() {
    page("everythingWorksByKeyboardAlone", &filters(), &[], &[]);
}

#[test]
fn metrics_shared_data_and_background_have_views() {
    page("metricsSharedDataAndBackgroundHaveViews", &busy(), &[], &[]);
}

#[test]
fn hostile_requests_are_only_text() {
    page("hostileRequestsAreOnlyText", &busy(), &[], &[]);
}

#[test]
fn the_list_forgets_what_is_not_kept() {
    page(
        "theListForgetsWhatIsNotKept",
        &quick(),
        &["--inspect-requests", "20"],
        &[],
    );
}

#[test]
fn ten_thousand_requests_stay_responsive() {
    let inspected = Inspected::serve(&quick(), &[]);
    let mut client = Client::connect(inspected.gateway);
    for n in 0..10_000 {
        client.get(&format!("/item/{n}"), "");
    }
    inspected.last(10_000);
    let admin = inspected.admin.to_string();
    let gateway = inspected.gateway.to_string();
    browse(
        "page.mjs",
        "tenThousandRequestsStayResponsive",
        &[("ADMIN", &admin), ("GATEWAY", &gateway)],
    );
}

#[test]
fn a_copied_scenario_runs_and_passes() {
    for (setup, path) in [
        (filters(), "/login"),
        (busy(), "/a?x=1"),
        (filters(), "/orders"),
    ] {
        let file = scratch("copied.yaml");
        let text = file.to_string_lossy();
        page(
            "aScenarioIsCopied",
            &setup,
            &["--inspect-secrets"],
            &[("REQUEST", path), ("FILE", &text), ("TOKEN", TOKEN)],
        );
        let output = Command::new(env!("CARGO_BIN_EXE_host-test"))
            .arg("run")
            .arg(&file)
            .output()
            .expect("it runs");
        let yaml = std::fs::read_to_string(&file).expect("the browser has written it");
        assert!(
            output.status.success(),
            "{}{}\n{yaml}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn it_is_light_and_dark() {
    // The pictures of the README are written on request.
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docs");
    let folder = match std::env::var_os("PENSTOCK_UPDATE_PICTURES") {
        Some(_) => folder,
        None => "",
    };
    page(
        "itIsLightAndDark",
        &filters(),
        &[],
        &[("PICTURES", folder), ("TOKEN", TOKEN)],
    );
}
