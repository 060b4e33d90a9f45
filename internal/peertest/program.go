package peertest

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// sbin is where Debian has Postfix's programs. They are in no PATH but root's.
var sbin = []string{"/usr/sbin", "/usr/local/sbin"}

// program returns the path of the program name, which Debian has in the package
// pkg. Without it the test ends here.
func program(tb testing.TB, name, pkg string) string {
	tb.Helper()
	if runtime.GOOS != "linux" {
		missing(tb, "%s is run on Linux only: this is %s", name, runtime.GOOS)
	}
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range sbin {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	missing(tb, "%s is not installed: apt-get install %s", name, pkg)
	return ""
}

// missing ends a test that cannot run on this machine: it skips the test, or
// fails it where BENCHMAIL_REQUIRE_PEERS=1 says that it has to run.
func missing(tb testing.TB, format string, args ...any) {
	tb.Helper()
	if os.Getenv("BENCHMAIL_REQUIRE_PEERS") == "1" {
		tb.Fatalf("peertest: BENCHMAIL_REQUIRE_PEERS=1, and "+format, args...)
	}
	tb.Skipf("SKIPPED, A REAL PEER IS MISSING: "+format, args...)
}

// environ is the environment of a peer. The messages of libc and OpenSSL are
// in English, and MAIL_CONFIG, which would lead Postfix's programs to another
// configuration, is not passed on.
func environ() []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, "MAIL_CONFIG=") || strings.HasPrefix(kv, "LANG") || strings.HasPrefix(kv, "LC_")
	})
	return append(env, "LC_ALL=C")
}

// PublicDir returns a folder that peers can use though they run as another
// user: everybody may enter it, and it is owned by nobody when the tests run as
// root. tb.TempDir's is closed to others. It is removed when the test ends.
func PublicDir(tb testing.TB) string {
	tb.Helper()
	dir := publicDir(tb)
	if err := giveToNobody(dir); err != nil {
		tb.Fatalf("peertest: giving a folder to nobody: %v", err)
	}
	return dir
}

func publicDir(tb testing.TB) string {
	tb.Helper()
	// Short: a unix socket's path in it has to fit into 108 bytes.
	dir, err := os.MkdirTemp("", "peer")
	if err != nil {
		tb.Fatalf("peertest: making a folder: %v", err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Errorf("peertest: removing a peer's folder: %v", err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		tb.Fatalf("peertest: opening a folder: %v", err)
	}
	return dir
}
