package peertest

import (
	"fmt"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// newPostfix makes the folder of a Postfix that is not started yet.
func newPostfix(tb testing.TB, cfg PostfixConfig) *PostfixServer {
	tb.Helper()
	s := &PostfixServer{Addr: freeAddr(tb), ImplicitTLSAddr: freeAddr(tb), Dir: publicDir(tb)}
	if err := s.makeDirs(); err != nil {
		tb.Fatalf("peertest: making Postfix's folders: %v", err)
	}
	cert, key, err := certificate()
	if err != nil {
		tb.Fatalf("peertest: making a certificate: %v", err)
	}
	s.cert = cert
	old := time.Now().Add(-time.Minute)
	for name, content := range map[string]string{
		"cert.pem":  string(cert),
		"key.pem":   string(key),
		"main.cf":   s.mainCF(cfg),
		"master.cf": s.masterCF(),
	} {
		path := filepath.Join(s.etc(), name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			tb.Fatalf("peertest: configuring Postfix: %v", err)
		}
		// Postfix leaves a file alone for seconds that looks as if it were being
		// written right now.
		if err := os.Chtimes(path, old, old); err != nil {
			tb.Fatalf("peertest: configuring Postfix: %v", err)
		}
	}
	return s
}

// makeDirs makes the folders with the owners and modes that "postfix
// set-permissions" would give them.
func (s *PostfixServer) makeDirs() error {
	owner, err := user.Lookup("postfix")
	if err != nil {
		return err
	}
	group, err := user.LookupGroup("postdrop")
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(owner.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(group.Gid)
	if err != nil {
		return err
	}
	const noGroup = -1
	for _, d := range []struct {
		name string
		mode os.FileMode
		uid  int
		gid  int
	}{
		{"etc", 0o755, 0, noGroup},
		{"data", 0o700, uid, noGroup},
		{"queue", 0o755, 0, noGroup},
		{"queue/pid", 0o755, 0, noGroup},
		{"queue/active", 0o700, uid, noGroup},
		{"queue/bounce", 0o700, uid, noGroup},
		{"queue/corrupt", 0o700, uid, noGroup},
		{"queue/defer", 0o700, uid, noGroup},
		{"queue/deferred", 0o700, uid, noGroup},
		{"queue/flush", 0o700, uid, noGroup},
		{"queue/hold", 0o700, uid, noGroup},
		{"queue/incoming", 0o700, uid, noGroup},
		{"queue/private", 0o700, uid, noGroup},
		{"queue/saved", 0o700, uid, noGroup},
		{"queue/trace", 0o700, uid, noGroup},
		{"queue/maildrop", 0o730, uid, gid},
		{"queue/public", 0o710, uid, gid},
	} {
		path := filepath.Join(s.Dir, d.name)
		if err := os.Mkdir(path, 0o700); err != nil {
			return err
		}
		if err := os.Chown(path, d.uid, d.gid); err != nil {
			return err
		}
		if err := os.Chmod(path, d.mode); err != nil { // Mkdir's is cut by the umask
			return err
		}
	}
	return nil
}

func (s *PostfixServer) mainCF(cfg PostfixConfig) string {
	main := map[string]string{
		"compatibility_level": "3.6",
		"config_directory":    s.etc(),
		"queue_directory":     s.queue(),
		"data_directory":      filepath.Join(s.Dir, "data"),

		"maillog_file":          filepath.Join(s.Dir, "mail.log"),
		"maillog_file_prefixes": s.Dir,

		// Not "localhost": Postfix will not relay to a server of its own name.
		"myhostname":      "postfix.test",
		"mydestination":   "",
		"inet_interfaces": "loopback-only",
		"mynetworks":      "127.0.0.0/8",
		// No tables, as they would have to be built, and no DNS.
		"alias_maps":             "",
		"alias_database":         "",
		"local_recipient_maps":   "",
		"smtpd_peername_lookup":  "no",
		"smtp_host_lookup":       "native",
		"smtp_dns_support_level": "disabled",

		"smtpd_tls_security_level":  "may",
		"smtpd_tls_cert_file":       filepath.Join(s.etc(), "cert.pem"),
		"smtpd_tls_key_file":        filepath.Join(s.etc(), "key.pem"),
		"smtpd_tls_loglevel":        "1",
		"smtpd_tls_received_header": "yes",

		// No limits, and no exceptions from those that a test sets.
		"smtpd_client_connection_count_limit": "0",
		"smtpd_client_connection_rate_limit":  "0",
		"smtpd_client_event_limit_exceptions": "",
		"smtpd_error_sleep_time":              "0",
		"smtpd_soft_error_limit":              "1000000",
		"smtpd_hard_error_limit":              "1000000",
		"in_flow_delay":                       "0",
		"default_process_limit":               "100",

		"smtpd_relay_restrictions":     "permit_mynetworks, reject",
		"smtpd_recipient_restrictions": "permit",
	}
	switch {
	case cfg.Relay != "":
		main["default_transport"] = cfg.Relay
		main["relay_transport"] = cfg.Relay
		main["local_transport"] = cfg.Relay
	case cfg.Discard:
		main["smtpd_data_restrictions"] = "check_client_access static:DISCARD"
	default:
		main["smtpd_data_restrictions"] = "check_client_access static:HOLD"
	}
	maps.Copy(main, cfg.Main)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(main)) {
		fmt.Fprintf(&b, "%s = %s\n", name, main[name])
	}
	return b.String()
}

// masterCF has what receiving, relaying and bouncing need, and nothing in a
// chroot.
func (s *PostfixServer) masterCF() string {
	return s.Addr + " inet n - n - - smtpd\n" +
		s.ImplicitTLSAddr + " inet n - n - - smtpd\n" +
		"    -o smtpd_tls_wrappermode=yes\n" +
		`cleanup   unix       n - n -     0 cleanup
qmgr      unix       n - n 300   1 qmgr
tlsmgr    unix       - - n 1000? 1 tlsmgr
rewrite   unix       - - n -     - trivial-rewrite
anvil     unix       - - n -     1 anvil
bounce    unix       - - n -     0 bounce
defer     unix       - - n -     0 bounce
trace     unix       - - n -     0 bounce
error     unix       - - n -     - error
retry     unix       - - n -     - error
smtp      unix       - - n -     - smtp
lmtp      unix       - - n -     - lmtp
scache    unix       - - n -     1 scache
postlog   unix-dgram n - n -     1 postlogd
`
}
