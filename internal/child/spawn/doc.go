// Package spawn starts processes: by descriptor, with uid, gid and groups set
// in exec itself, in namespaces of their own, from threads that never end.
//
// Only master and tests may use it. It must never know what the programs do.
//
// What it holds together:
//   - Programs are opened once. A package upgrade under a running master
//     cannot mix builds.
//   - A child dies with master (PDEATHSIG), which fires when the forking
//     thread ends: a [Forker] is a thread that never does.
//   - Workers share one network and IPC namespace, in which their forker's
//     thread sits: a namespace each costs a third of a cold login.
//   - Reaping needs no thread per child: a pidfd in Go's poller.
package spawn
