// Package child is how a process of ours begins: it names the descriptors that
// master handed over, checks that each is what it should be, closes all others
// and reads the settings.
//
// Each role's Main calls [Inherit] first. Then it opens its channels, confines
// itself (package sandbox) and says Ready, the first message of its role on the
// control channel; master counts it as started only then:
//
//	env, err := child.Inherit(child.Login)
//	set, err := settings.Decode(settings.RoleLogin, env.Settings)
//	log, err := ipc.NewConn(env.Log, logmsg.Protocol, ipc.FromClient)
//	ctl, err := ipc.NewConn(env.Control, handoffmsg.Protocol, ipc.FromClient)
//	report, err := sandbox.Enter(sandbox.Login, sandbox.Options{Root: env.Root, Strict: env.Strict})
//	err = ctl.Send(&handoffmsg.Ready{}, -1)
//
// The end of the control channel means that master is gone: the process ends.
// The two ends of every channel compare build ids in their hello.
//
// The other half, which starts processes, is package spawn: only master has
// it. This package must never know what a channel's messages mean.
package child
