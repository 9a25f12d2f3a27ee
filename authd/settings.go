package authd

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"rookery/authd/internal/authdb"
	"rookery/authd/internal/engine"
	"rookery/authd/internal/hashpool"
	"rookery/authd/internal/passhash"
	"rookery/internal/settings"
)

// The system's files. master passes them where they are configured.
const (
	shadowPath = "/etc/shadow"
	passwdPath = "/etc/passwd"
	groupPath  = "/etc/group"
)

// Hashes that may wait, of all clients and of one client network.
const (
	hashQueue      = 4096
	hashQueueOfNet = 512
)

// engineConfig turns settings into the engine's form. Its errors name the
// setting or the table.
func engineConfig(set *settings.Set, env authdb.Env) (*engine.Config, error) {
	c := &engine.Config{
		AllowCleartext:  settings.AuthAllowCleartext.Get(set),
		TLSRequired:     settings.SSL.Get(set) == "required",
		UsernameFormat:  settings.AuthUsernameFormat.Get(set),
		UsernameChars:   settings.AuthUsernameChars.Get(set),
		DefaultDomain:   settings.AuthDefaultDomain.Get(set),
		MasterSeparator: settings.AuthMasterUserSeparator.Get(set),
		AnonymousUser:   settings.AuthAnonymousUsername.Get(set),

		FailureDelay:         settings.AuthFailureDelay.Get(set),
		InternalFailureDelay: settings.AuthInternalFailureDelay.Get(set),
		Penalty:              settings.AuthPenalty.Get(set),
		Exempt:               slices.Concat(settings.LimitsExemptNetworks.Get(set), settings.LoginTrustedNetworks.Get(set)),
		AllowWeakSchemes:     settings.AuthAllowWeakSchemes.Get(set),
		TicketLifetime:       settings.AuthTicketLifetime.Get(set),

		Verbose:          settings.AuthVerbose.Get(set),
		Debug:            settings.AuthDebug.Get(set),
		DebugPasswords:   settings.AuthDebugPasswords.Get(set),
		VerbosePasswords: settings.AuthVerbosePasswords.Get(set),

		ACLGroups: settings.ACLGroups.Get(set),

		MailHome: settings.MailHome.Get(set),
		FirstUID: uint32(settings.FirstValidUID.Get(set)), LastUID: uint32(settings.LastValidUID.Get(set)),
		FirstGID: uint32(settings.FirstValidGID.Get(set)), LastGID: uint32(settings.LastValidGID.Get(set)),
	}
	for _, m := range settings.AuthMechanisms.Get(set) {
		c.Mechanisms = append(c.Mechanisms, strings.ToUpper(m))
	}
	var err error
	if c.MailUID, err = systemID(env.Files, "mail_uid", settings.MailUID.Get(set), passwdPath); err != nil {
		return nil, err
	}
	if c.MailGID, err = systemID(env.Files, "mail_gid", settings.MailGID.Get(set), groupPath); err != nil {
		return nil, err
	}
	for _, p := range set.Passdbs() {
		db, err := passdb(p, env)
		if err != nil {
			return nil, fmt.Errorf("[[passdb]] %q: %w", p.Name, err)
		}
		c.Passdbs = append(c.Passdbs, db)
	}
	for _, u := range set.Userdbs() {
		db, err := userdb(u, env)
		if err != nil {
			return nil, fmt.Errorf("[[userdb]] %q: %w", u.Name, err)
		}
		c.Userdbs = append(c.Userdbs, db)
	}
	return c, nil
}

func rules(d settings.Database) (r authdb.Rules, err error) {
	r = authdb.Rules{Name: d.Name, Driver: d.Driver}
	for _, x := range []struct {
		text string
		to   *authdb.Action
	}{{d.Success, &r.OnSuccess}, {d.Failure, &r.OnFailure}, {d.Internal, &r.OnInternal}} {
		if *x.to, err = authdb.ParseAction(x.text); err != nil {
			return r, err
		}
	}
	switch d.Skip {
	case "authenticated", "found":
		r.Skip = authdb.SkipAuthenticated
	case "unauthenticated", "notfound":
		r.Skip = authdb.SkipUnauthenticated
	}
	return r, nil
}

// fields parts a table's fields: ":default" gives way to the database's.
func fields(list settings.Fields) (defaults, override []authdb.TemplateField) {
	for _, f := range list {
		if key, ok := strings.CutSuffix(f.Name, ":default"); ok {
			defaults = append(defaults, authdb.TemplateField{Key: key, Value: f.Value})
			continue
		}
		override = append(override, authdb.TemplateField{Key: f.Name, Value: f.Value})
	}
	return defaults, override
}

func passdb(p settings.Passdb, env authdb.Env) (*authdb.Passdb, error) {
	r, err := rules(p.Database)
	if err != nil {
		return nil, err
	}
	if !passhash.Known(p.DefaultScheme) {
		return nil, fmt.Errorf("default_password_scheme %q is unknown; rookeryctl pw --list shows the schemes", p.DefaultScheme)
	}
	db := &authdb.Passdb{Rules: r, Deny: p.Deny, Master: p.Master, UsernameFilter: strings.Join(p.UsernameFilter, " "),
		DefaultScheme: p.DefaultScheme, UsernameFormat: p.UsernameFormat}
	for _, m := range p.MechanismsFilter {
		db.Mechanisms = append(db.Mechanisms, strings.ToUpper(m))
	}
	password, rest := takePassword(p)
	db.Defaults, db.Override = fields(rest)
	switch p.Driver {
	case "passwd-file":
		return db.PasswdFile(env, p.PasswdFile), nil
	case "shadow":
		return db.Shadow(env, literal(shadowPath)), nil
	case "static":
		return db.Static(password), nil
	}
	return nil, fmt.Errorf("driver %q is unknown", p.Driver)
}

// takePassword takes the static driver's password out of the extra fields: they
// go further, and are shown.
func takePassword(p settings.Passdb) (password settings.Template, rest settings.Fields) {
	if p.Driver != "static" {
		return password, p.Fields
	}
	for _, f := range p.Fields {
		if f.Name == "password" {
			password = f.Value
			continue
		}
		rest = append(rest, f)
	}
	return password, rest
}

func userdb(u settings.Userdb, env authdb.Env) (*authdb.Userdb, error) {
	r, err := rules(u.Database)
	if err != nil {
		return nil, err
	}
	db := &authdb.Userdb{Rules: r, UsernameFormat: u.UsernameFormat}
	db.Defaults, db.Override = fields(u.Fields)
	switch u.Driver {
	case "passwd-file":
		return db.PasswdFile(env, u.PasswdFile), nil
	case "passwd":
		return db.Passwd(env, literal(passwdPath)), nil
	case "static":
		return db.Static(), nil
	case "prefetch":
		return db.Prefetch(), nil
	}
	return nil, fmt.Errorf("driver %q is unknown", u.Driver)
}

func literal(path string) settings.Template {
	t, err := settings.ParseTemplate(path, nil)
	if err != nil {
		panic("authd: " + err.Error()) // the paths above have no variables
	}
	return t
}

// systemID reads a uid or gid that may be a name of the system's.
func systemID(files authdb.Files, what, text, path string) (authdb.ID, error) {
	if text == "" {
		return authdb.ID{}, nil
	}
	if n, err := strconv.ParseUint(text, 10, 32); err == nil {
		return authdb.ID{N: uint32(n), Set: true}, nil
	}
	data, _, err := files.Read(path, authdb.MaxFile)
	if err != nil {
		return authdb.ID{}, fmt.Errorf("%s = %q: %w", what, text, err)
	}
	// Both files have the name first and the number third.
	for line := range strings.SplitSeq(string(data), "\n") {
		f := strings.SplitN(line, ":", 4)
		if len(f) < 3 || f[0] != text {
			continue
		}
		n, err := strconv.ParseUint(f[2], 10, 32)
		if err != nil {
			return authdb.ID{}, fmt.Errorf("%s = %q: %s has no number for it", what, text, path)
		}
		return authdb.ID{N: uint32(n), Set: true}, nil
	}
	return authdb.ID{}, fmt.Errorf("%s = %q: %s does not have it", what, text, path)
}

func poolLimits(set *settings.Set) hashpool.Limits {
	workers := int(settings.AuthHashLimit.Get(set))
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	return hashpool.Limits{Workers: workers, Memory: settings.AuthHashMemoryLimit.Get(set), Queue: hashQueue, QueueOfNet: hashQueueOfNet,
		Idle: debug.FreeOSMemory}
}

// debugFilter is log_debug in the log package's words.
func debugFilter(entries []string) string {
	out := make([]string, len(entries))
	for i, e := range entries {
		out[i] = e
		if ip, ok := strings.CutPrefix(e, "remote_ip="); ok {
			out[i] = "ip=" + ip
		}
	}
	return strings.Join(out, " ")
}
