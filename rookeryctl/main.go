// Rookeryctl asks and steers a running Rookery server.
//
//	rookeryctl [-c FILE] [--json] COMMAND …
//
// It reads the configuration itself to show and check it, and asks the server
// over its control socket for the rest. "rookeryctl demo" makes a server of its
// own on loopback.
//
// ON THE SERVER: config, status, who, kick, auth, reload, stop, log, pw,
// privileges, demo, man, version.
//
// ON ONE USER'S MAIL (with -u USER; the server runs a process as that user in
// his sandbox for it): mailbox, search, fetch, flags, expunge, copy, move,
// import, export, share, unshare, shares, index, verify, purge, quota, undelete,
// convert, adopt. Each says more with --help; docs/mailbox-tools.md has all of it.
//
// EXIT CODES: those of sysexits(3): 0 done, 64 the command line is wrong, 65 what
// was given or is stored cannot be used, 66 no such mailbox, message or file, 67
// no such user or session, 69 the server cannot be reached, 70 a fault of the
// server's, 73 it is there already or would be too much, 74 the disk failed, 75
// try again later, 77 not allowed, 78 the configuration is wrong.
//
// PRIVILEGES: whoever runs it; the control socket serves root and the user of
// the server.
// TALKS TO: master, over the control socket.
// NEVER: reads a user's mail, but as that user in that user's sandbox.
package rookeryctl

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"rookery/internal/confload"
	"rookery/internal/secret"
	"rookery/internal/settings"
	"rookery/rookeryctl/internal/control"
	"rookery/rookeryctl/internal/show"
)

// DefaultConfig is where the configuration is without -c.
const DefaultConfig = "/etc/rookery/rookery.toml"

// askTimeout is how long the server may take for most answers.
const askTimeout = 30 * time.Second

// app is what the commands share.
type app struct {
	config string
	json   bool
	in     io.Reader
	out    io.Writer
	errOut io.Writer
}

// Main runs one command and gives the exit code.
func Main(args []string, in io.Reader, out, errOut io.Writer) int {
	a := &app{in: in, out: out, errOut: errOut}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.Execute()
	if err == nil {
		return 0
	}
	var ce *control.Error
	if !errors.As(err, &ce) {
		// What cobra itself finds wrong is the command line.
		ce = &control.Error{Exit: control.ExitUsage, Text: err.Error() + "\nSee rookeryctl --help"}
	}
	if ce.Text != "" {
		fmt.Fprintln(errOut, "rookeryctl: "+ce.Text)
	}
	return ce.Exit
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "rookeryctl",
		Short:         "Ask and steer the mail server Rookery",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.PersistentFlags().StringVarP(&a.config, "config", "c", DefaultConfig, "the main configuration `FILE`")
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print JSON")
	root.AddCommand(a.configCommand(), a.statusCommand(), a.whoCommand(), a.kickCommand(), a.authCommand(), a.reloadCommand(),
		a.stopCommand(), a.logCommand(), a.pwCommand(), a.privilegesCommand(), a.demoCommand(), a.samplesCommand(), a.manCommand(), a.versionCommand())
	root.AddCommand(a.mailboxCommand())
	root.AddCommand(a.messageCommands()...)
	root.AddCommand(a.importCommand(), a.exportCommand())
	root.AddCommand(a.shareCommands()...)
	root.AddCommand(a.upkeepCommands()...)
	root.AddCommand(a.convertCommand(), a.relocateCommand(), a.adoptCommand())
	return root
}

// configFile is the path of the configuration, absolute.
func (a *app) configFile() (string, error) {
	path, err := filepath.Abs(a.config)
	if err != nil {
		return "", control.Errorf(control.ExitUsage, "%v", err)
	}
	return path, nil
}

// load reads the configuration.
func (a *app) load() (*confload.Result, error) {
	path, err := a.configFile()
	if err != nil {
		return nil, err
	}
	return confload.Load(os.DirFS("/"), path), nil
}

// dial connects to the server of the configuration. What is wrong in the
// configuration does not matter as long as the socket's place can be told.
func (a *app) dial() (*control.Client, error) {
	r, err := a.load()
	if err != nil {
		return nil, err
	}
	path := settings.ControlSocketPath.Get(r.Set)
	if path == "" {
		path = filepath.Join(settings.BaseDir.Get(r.Set), "control")
	}
	for _, d := range r.Diags {
		if d.File == r.Files[0] && d.Line == 0 && len(r.Sources) == 0 && !d.Warning {
			return nil, control.Errorf(control.ExitConfig, "%s", d) // there is nothing to go by
		}
	}
	return control.Dial(path)
}

// ask is one request without a password, and its answer printed.
func (a *app) ask(verb string, args ...string) error {
	return a.askSecret(verb, secret.Bytes{}, args...)
}

func (a *app) askSecret(verb string, password secret.Bytes, args ...string) error {
	body, err := a.fetch(askTimeout, verb, password, args...)
	if err != nil {
		return err
	}
	return a.print(body)
}

func (a *app) fetch(timeout time.Duration, verb string, password secret.Bytes, args ...string) ([]byte, error) {
	c, err := a.dial()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Ask(timeout, verb, password, args...)
}

// print writes a JSON body as the user wants it.
func (a *app) print(body []byte) error {
	write := show.Text
	if a.json {
		write = show.JSON
	}
	if err := write(a.out, body); err != nil {
		return control.Errorf(control.ExitSoftware, "%v", err)
	}
	return nil
}

// usage makes an argument check fail with the right exit code and a hint.
func usage(check cobra.PositionalArgs, hint string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return control.Errorf(control.ExitUsage, "%s; write: %s", err, hint)
		}
		return nil
	}
}
