package authd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"rookery/authd/internal/authdb"
	"rookery/authd/internal/dbfile"
	"rookery/internal/child"
	"rookery/internal/ipc"
	"rookery/internal/ipc/logmsg"
	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/maillog"
	"rookery/internal/sandbox"
	"rookery/internal/settings"
)

// Main runs authd, or makes a hash for rookeryctl, and gives the exit code.
func Main() int {
	if done, exit := HashMode(os.Args[1:], os.Stdin, os.Stdout, os.Stderr); done {
		return exit
	}
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", child.Authd.Program(), err)
		return 70 // EX_SOFTWARE
	}
	return 0
}

func run() error {
	env, err := child.Inherit(child.Authd)
	if err != nil {
		return err
	}
	set, err := settings.Decode(settings.RoleAuthd, env.Settings)
	if err != nil {
		return err
	}
	logConn, err := ipc.NewConn(env.Log, logmsg.Protocol, ipc.FromClient)
	if err != nil {
		return err
	}
	log := maillog.New(maillog.ToChannel(logConn))
	ctl, err := ipc.NewConn(env.Control, redeemmsg.Protocol, ipc.FromClient)
	if err != nil {
		return err
	}
	files := dbfile.New()
	openFolders(files, set, log)
	options, err := sandboxOptions(files, env)
	if err != nil {
		return err
	}
	if _, err := sandbox.Enter(sandbox.Authd, options); err != nil {
		return err
	}
	s, err := newServer(ctl, log, files, set, time.Now)
	if err != nil {
		log.Errorf("%v", err)
		return err
	}
	if err := ctl.Send(&redeemmsg.Ready{}, -1); err != nil {
		return err
	}
	return s.serve()
}

// openFolders opens, while paths can still be named, the folders of the
// passwd-files, and the system's files that everybody may read. What cannot be
// opened here may still come from master.
func openFolders(files *dbfile.Store, set *settings.Set, log *maillog.Logger) {
	var paths []settings.Template
	for _, p := range set.Passdbs() {
		paths = append(paths, p.PasswdFile)
	}
	for _, u := range set.Userdbs() {
		paths = append(paths, u.PasswdFile)
	}
	for _, p := range paths {
		err := files.OpenFolder(dbfile.Folder(p.String()))
		if err != nil && strings.Contains(p.String(), "%{") { // master passes those without variables
			log.Warnf("passwd-file %s: %v; authd's user must be able to read it", p, err)
		}
	}
	for _, p := range []string{passwdPath, groupPath} {
		if err := files.Preopen(p); err != nil {
			log.Warnf("%v", err)
		}
	}
}

func sandboxOptions(files *dbfile.Store, env *child.Env) (sandbox.Options, error) {
	o := sandbox.Options{Root: env.Root, Strict: env.Strict, KeepDirs: files.Folders()}
	for _, fd := range o.KeepDirs {
		// Enter closes a rule's descriptor; the store keeps its own.
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return o, fmt.Errorf("folder of a passwd-file: %w", err)
		}
		o.Rules = append(o.Rules, sandbox.Rule{FD: dup, Access: sandbox.ReadOnly})
	}
	return o, nil
}

// serve handles master's messages until the channel ends.
func (s *server) serve() error {
	defer s.close()
	for {
		m, fd, err := s.ctl.Recv()
		if errors.Is(err, io.EOF) {
			return nil // master is gone
		}
		if err != nil {
			return err // a bad message from above is fatal
		}
		if err := s.handle(m, fd); err != nil {
			return err
		}
	}
}

func (s *server) databaseEnv() authdb.Env {
	return authdb.Env{Files: s.files, Now: s.now, Shared: &authdb.Shared{}, Report: func(problems []authdb.Problem) {
		for _, p := range problems {
			s.log.Errorf("%s", p)
		}
	}}
}
