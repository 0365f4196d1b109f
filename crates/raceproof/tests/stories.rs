//! The example programs of the rooms, run as they are. Each checks itself.

#[path = "../examples/background_tasks.rs"]
mod background_tasks;
#[cfg(feature = "console")]
#[path = "../examples/console.rs"]
mod console;
#[path = "../examples/database_once.rs"]
mod database_once;
#[path = "../examples/dev_server_once.rs"]
mod dev_server_once;
#[cfg(feature = "cache")]
#[path = "../examples/engine_list.rs"]
mod engine_list;
#[cfg(all(unix, feature = "signal"))]
#[path = "../examples/guarded_shutdown.rs"]
mod guarded_shutdown;
#[path = "../examples/model_manager.rs"]
mod model_manager;
#[cfg(feature = "config")]
#[path = "../examples/named_instances.rs"]
mod named_instances;
#[path = "../examples/outage.rs"]
mod outage;
#[path = "../examples/preference_store.rs"]
mod preference_store;
#[cfg(feature = "stream")]
#[path = "../examples/project_state.rs"]
mod project_state;
#[path = "../examples/stream_monitors.rs"]
mod stream_monitors;
#[path = "../examples/thumbnails.rs"]
mod thumbnails;
#[path = "../examples/transfers.rs"]
mod transfers;
#[cfg(feature = "client")]
#[path = "../examples/websocket_once.rs"]
mod websocket_once;

#[test]
fn v1_v2_two_hundred_requests_set_one_database_up() {
    database_once::main().unwrap();
}

#[test]
fn v1_v2_a_development_server_is_one_at_a_time_whoever_restarts_and_stops_it() {
    dev_server_once::main().unwrap();
}

#[cfg(feature = "client")]
#[test]
fn v1_a_websocket_service_is_set_up_once() {
    websocket_once::main().unwrap();
}

#[cfg(feature = "cache")]
#[test]
fn k1_k2_five_hundred_readers_ask_for_the_engines_once_per_two_seconds() {
    engine_list::main().unwrap();
}

#[cfg(all(unix, feature = "signal"))]
#[test]
fn v4_y4_a_signal_shuts_down_in_order_and_names_who_is_stuck() {
    guarded_shutdown::main().unwrap();
}

#[test]
fn b1_preferences_keep_the_last_change_and_tell_of_all_in_order() {
    preference_store::main().unwrap();
}

#[test]
fn t1_t2_background_tasks_run_once_come_back_and_leave_nothing() {
    background_tasks::main().unwrap();
}

#[test]
fn t1_t3_a_model_answers_only_those_who_wait() {
    model_manager::main().unwrap();
}

#[cfg(feature = "config")]
#[test]
fn p1_p3_p4_parts_of_a_program_share_instances_by_name() {
    named_instances::main().unwrap();
}

#[test]
fn l1_l4_l6_transfers_lose_no_money_and_nobody_waits_for_ever() {
    transfers::main().unwrap();
}

#[test]
fn p1_p2_an_outage_is_met_with_probes_and_not_with_a_storm() {
    outage::main();
}

#[test]
fn r1_r4_v4_t1_p1_a_stream_ends_once_also_long_after_the_clean_up() {
    stream_monitors::main().unwrap();
}

#[cfg(feature = "stream")]
#[test]
fn b1_b2_l1_l4_views_follow_a_project_as_streams() {
    project_state::main().unwrap();
}

#[test]
fn t1_t3_who_waits_for_room_is_served_in_order_and_who_goes_is_not() {
    thumbnails::main().unwrap();
}

#[cfg(feature = "console")]
#[test]
fn a_program_runs_with_and_without_what_the_console_wants() {
    console::main().unwrap();
}
