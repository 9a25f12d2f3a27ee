package rookeryctl

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"rookery/rookeryctl/internal/control"
	"rookery/rookeryctl/internal/demo"
)

func (a *app) demoCommand() *cobra.Command {
	o := demo.Options{Set: map[string]bool{}}
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run a whole server on loopback, with users and mail to try",
		Long:  "Write a configuration with users u1 to uK (password \"pass\") and sample messages into a folder, and run the server on it until Ctrl-C. The line \"rookery ready\" says that it can be used.",
		Args:  usage(cobra.NoArgs, "rookeryctl demo [--dir DIR] [--base-port N] [--users K] [--driver DRIVER] [--empty]"),
		RunE: func(c *cobra.Command, _ []string) error {
			if c.Flags().Changed("config") || a.json {
				return control.Errorf(control.ExitUsage, "demo makes its own configuration and prints text: take -c and --json away")
			}
			c.Flags().Visit(func(f *pflag.Flag) { o.Set[f.Name] = true })
			return a.runDemo(o)
		},
	}
	c.Flags().StringVar(&o.Dir, "dir", "demo", "the folder; used again if it is there")
	c.Flags().IntVar(&o.BasePort, "base-port", 10000, "listen on 127.0.0.1 at N + the protocol's port")
	c.Flags().IntVar(&o.Users, "users", 3, "how many users")
	c.Flags().StringVar(&o.Driver, "driver", "maildir", "the mail store's format: maildir, mbox or pack")
	c.Flags().BoolVar(&o.Empty, "empty", false, "no sample messages")
	c.Flags().BoolVar(&o.NoExempt, "no-localhost-exemption", false, "penalties and limits by address count for 127.0.0.1 too")
	c.Flags().BoolVar(&o.WriteOnly, "write-only", false, "write the folder and do not start the server")
	_ = c.Flags().MarkHidden("write-only") // the flag is there
	return c
}

func (a *app) runDemo(o demo.Options) error {
	self, err := os.Executable()
	if err != nil {
		return control.Errorf(control.ExitSoftware, "%v", err)
	}
	o.ProgramDir = filepath.Dir(self)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err = demo.Run(ctx, o, a.out, a.errOut)
	var ce *control.Error
	if err != nil && !errors.As(err, &ce) {
		return control.Errorf(control.ExitCantCreate, "%v", err)
	}
	return err
}

// samplesCommand is what demo runs as each user.
func (a *app) samplesCommand() *cobra.Command {
	return &cobra.Command{
		Use:    demo.SamplesCommand + " DRIVER DIR ADDRESS",
		Hidden: true,
		Args:   cobra.ExactArgs(3),
		RunE: func(_ *cobra.Command, args []string) error {
			syscall.Umask(0o077)
			if err := demo.WriteSamples(args[0], args[1], args[2], time.Now()); err != nil {
				return control.Errorf(control.ExitCantCreate, "%v", err)
			}
			return nil
		},
	}
}
