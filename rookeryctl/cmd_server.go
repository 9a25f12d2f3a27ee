package rookeryctl

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rookery/internal/ipc/ctlmsg"
	"rookery/internal/secret"
	"rookery/internal/settings"
	"rookery/rookeryctl/internal/control"
	"rookery/rookeryctl/internal/show"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the server's version, processes, limits and counters",
		Args:  usage(cobra.NoArgs, "rookeryctl status"),
		RunE:  func(*cobra.Command, []string) error { return a.ask(ctlmsg.Status) },
	}
}

func (a *app) whoCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "who [USER]",
		Short:             "List sessions: user, protocol, session, address, since when",
		Args:              usage(cobra.MaximumNArgs(1), "rookeryctl who [USER]"),
		RunE:              func(_ *cobra.Command, args []string) error { return a.ask(ctlmsg.Who, args...) },
		ValidArgsFunction: a.completeUsers,
	}
}

func (a *app) kickCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "kick USER|SESSION",
		Short: "End a user's sessions, or one session",
		Args:  usage(cobra.ExactArgs(1), "rookeryctl kick USER|SESSION"),
		RunE: func(_ *cobra.Command, args []string) error {
			body, err := a.fetch(askTimeout, ctlmsg.Kick, secret.Bytes{}, args...)
			if err != nil {
				return err
			}
			if err := a.print(body); err != nil {
				return err
			}
			var answer struct{ Kicked int }
			if err := json.Unmarshal(body, &answer); err == nil && answer.Kicked == 0 {
				return control.Errorf(control.ExitNoUser, "%s has no session, and no session is called so", show.Clean(args[0]))
			}
			return nil
		},
		ValidArgsFunction: a.completeUsers,
	}
}

func (a *app) reloadCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Read the configuration again; a bad one changes nothing and says why",
		Args:  usage(cobra.NoArgs, "rookeryctl reload"),
		RunE:  func(*cobra.Command, []string) error { return a.ask(ctlmsg.Reload) },
	}
}

func (a *app) stopCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "stop",
		Short: "Stop the server once sessions had shutdown_timeout to finish",
		Args:  usage(cobra.NoArgs, "rookeryctl stop"),
		RunE:  func(*cobra.Command, []string) error { return a.ask(ctlmsg.Stop) },
	}
}

func (a *app) logCommand() *cobra.Command {
	c := &cobra.Command{Use: "log", Short: "The last errors, and debug lines for some sessions"}
	c.AddCommand(&cobra.Command{
		Use:   "errors",
		Short: "Show the last 1,000 warnings and errors",
		Args:  usage(cobra.NoArgs, "rookeryctl log errors"),
		RunE:  func(*cobra.Command, []string) error { return a.ask(ctlmsg.LogErrors) },
	}, &cobra.Command{
		Use:   "debug user=NAME|remote_ip=ADDRESS… | off",
		Short: "Log debug lines of some users or addresses from now on, until \"off\" or a restart",
		Long:  "Log debug lines of some users or addresses from now on, until \"off\" or a restart. Passwords stay hidden. The setting log_debug does the same for good.",
		Args:  usage(cobra.MinimumNArgs(1), "rookeryctl log debug user=NAME, or remote_ip=ADDRESS, or off"),
		RunE:  func(_ *cobra.Command, args []string) error { return a.logDebug(args) },
	})
	return c
}

func (a *app) logDebug(args []string) error {
	filter := strings.Join(args, " ")
	if filter == "off" {
		return a.ask(ctlmsg.LogDebug, "")
	}
	for _, term := range args {
		if term == "*" {
			continue
		}
		if _, err := settings.ParseDebugFilter(term); err != nil {
			return control.Errorf(control.ExitUsage, "%v", err)
		}
	}
	return a.ask(ctlmsg.LogDebug, filter)
}

// completeUsers offers the users who have a session, for the shell.
func (a *app) completeUsers(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	body, err := a.fetch(2*time.Second, ctlmsg.Who, secret.Bytes{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var sessions []struct{ User string }
	if json.Unmarshal(body, &sessions) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	seen := map[string]bool{}
	var users []string
	for _, s := range sessions {
		if !seen[s.User] {
			seen[s.User] = true
			users = append(users, show.Clean(s.User))
		}
	}
	return users, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) authCommand() *cobra.Command {
	var service, remote string
	test := &cobra.Command{
		Use:   "test USER",
		Short: "Try a login: the password is asked for, or read from standard input",
		Long:  "Try a login as the server would, and show what the databases gave: uid, home, mail. The password is asked for, or read from standard input. Exit code 77: it does not fit.",
		Args:  usage(cobra.ExactArgs(1), "rookeryctl auth test USER"),
		RunE: func(_ *cobra.Command, args []string) error {
			password, err := a.password(fmt.Sprintf("Password of %s: ", show.Clean(args[0])), false)
			if err != nil {
				return err
			}
			defer password.Wipe()
			return a.askSecret(ctlmsg.AuthTest, password, args[0], service, remote)
		},
	}
	lookup := &cobra.Command{
		Use:   "lookup USER",
		Short: "Show what the user databases say of a user, without a password",
		Args:  usage(cobra.ExactArgs(1), "rookeryctl auth lookup USER"),
		RunE:  func(_ *cobra.Command, args []string) error { return a.ask(ctlmsg.Lookup, args[0], service) },
	}
	c := &cobra.Command{Use: "auth", Short: "Try logins and look users up"}
	c.PersistentFlags().StringVar(&service, "service", "imap", "the protocol: imap or pop3")
	test.Flags().StringVar(&remote, "remote", "127.0.0.1", "the client's `ADDRESS`")
	c.AddCommand(test, lookup)
	return c
}
