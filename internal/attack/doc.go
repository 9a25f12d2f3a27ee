// Package attack holds what a process that was taken over would try, as a
// catalogue that runs inside the real sandbox: reading others' mail, leaving
// the network namespace, signals, new code, and every other call of the
// kernel.
//
// An attempt tells which guards stop it, each of them alone; tests hold these
// claims against what happens with guards taken away. The package survives
// SIGSYS as an attacker would, by a handler of its own, so that one process
// can try everything.
//
// Test programs only: nothing that is installed may import it.
package attack
