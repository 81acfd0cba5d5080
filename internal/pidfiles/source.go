// Package pidfiles says who belongs to a cgroup: the processes that pid files name, and their descendants.
//
// A pid file is a claim, not an identity: it may be old, its number may have been given to another process, somebody
// may have written it who has no say over the process it names. [Source] reads the files and judges the claims,
// [Scanner] lists the processes of the machine, [Assign] decides which process belongs where, and [Watch] reports when
// a file may have changed. Nothing here writes to a cgroup.
package pidfiles

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
)

// maxFiles bounds the pid files of one cgroup, since a glob or a command may yield any number.
const maxFiles = 4096

const tooManyFiles = "more than 4096 pid files; those after the first 4096 are not read"

// A Cgroup is one configured cgroup that may have processes.
type Cgroup struct {
	Path       string   // below our root, without a leading slash: "a/b"
	Subsystems []string // those in which it has conf
}

// Config says where the pid files are. The zero value of every field is usable.
type Config struct {
	// Files lists pid files by the cgroup's path or name; globs are allowed. A key with a slash is a path (a leading
	// slash is optional when there is another one); any other key is a name, at any depth. A path beats a name.
	Files map[string][]string

	// Command, when not empty, is run for each cgroup with the cgroup's name added as last argument. It prints pid
	// files, one a line. See [Source.RefreshCommand].
	Command []string

	// Trust switches off every check of who owns or could have written a pid file, and of its age.
	Trust bool

	// Hold lets the source hold the processes that are named, as many as [MaxHeld] allows, from one [Source.Read] to the
	// next, so that files which have not changed are not judged again. [Source.Close] lets go of them.
	Hold bool

	// Log gets a line whenever a claim's state changes. Nil: nothing is logged.
	Log *zap.Logger

	// Proc is where the proc filesystem is mounted. Empty is /proc.
	Proc string
}

// A Source reads pid files. Its methods may be called at the same time.
type Source struct {
	config Config // as it was at the start; what may change since is in rules
	rules  atomic.Pointer[Rules]

	reading sync.Mutex // held while files are read, which may take as long as a file system likes
	reader  reader
	known   map[claimKey]FileStatus // what was logged last
	crowded map[string]bool         // cgroups with too many files, by path

	mu       sync.Mutex               // never held while files are read or the command runs
	commands map[string]commandResult // by cgroup path
	status   []FileStatus
	faults   []Fault // of the last Read
}

// claimKey is a pid file in its role for one cgroup.
type claimKey struct{ file, cgroup string }

// New returns a source for config.
func New(config Config) *Source {
	if config.Log == nil {
		config.Log = zap.NewNop()
	}
	if config.Proc == "" {
		config.Proc = "/proc"
	}
	s := &Source{
		config:   config,
		reader:   reader{proc: config.Proc, trust: config.Trust, verdicts: map[string]verdict{}, boot: bootTime},
		commands: map[string]commandResult{},
	}
	s.reader.kept = keptClaims{byFile: map[string]*keptClaim{}, ways: map[string]*walked{}}
	if config.Hold {
		s.reader.kept.limit = maxHeld()
	}
	s.SetRules(Rules{Files: config.Files, Command: config.Command, Trust: config.Trust})
	return s
}

// Rules are the part of a [Config] that may change while a source is in use.
type Rules struct {
	Files   map[string][]string
	Command []string
	Trust   bool
}

// SetRules replaces the rules, from the next [Source.Read] on.
func (s *Source) SetRules(r Rules) {
	r.Files = normalise(r.Files)
	s.rules.Store(&r)
}

// Read reads every pid file that belongs to one of cgroups now, and returns a claim for each, sorted by cgroup and
// file. A file's fault is its claim's state and disturbs no other. The caller passes the claims to [CloseClaims] when
// the pass is over.
//
// Read does not run the command; it uses what [Source.RefreshCommand] found last.
func (s *Source) Read(cgroups []Cgroup) []Claim {
	s.reading.Lock()
	defer s.reading.Unlock()
	if trust := s.rules.Load().Trust; trust != s.reader.trust {
		s.reader.trust = trust
		s.reader.kept.dropAll()
	}
	s.reader.kept.begin()
	var claims []Claim
	var faults []Fault
	for _, cgroup := range cgroups {
		files := s.files(cgroup.Path)
		if len(files) > maxFiles {
			files = files[:maxFiles]
			faults = append(faults, Fault{Cgroup: cgroup.Path, Reason: tooManyFiles})
		}
		for _, file := range files {
			claims = append(claims, s.reader.claim(file, cgroup.Path))
		}
	}
	slices.SortFunc(claims, func(a, b Claim) int {
		return cmp.Or(cmp.Compare(a.Cgroup, b.Cgroup), cmp.Compare(a.File, b.File))
	})
	s.note(claims, faults)
	s.reader.forget(claims)
	return claims
}

// Close lets go of all processes that are held. Claims that were returned keep theirs.
func (s *Source) Close() {
	s.reading.Lock()
	defer s.reading.Unlock()
	s.reader.kept.dropAll()
}

// Patterns returns what [Watch.SetFiles] has to watch for cgroups: the pid files, globs not expanded. It is sorted.
func (s *Source) Patterns(cgroups []Cgroup) []string {
	var patterns []string
	for _, cgroup := range cgroups {
		patterns = append(patterns, s.configured(cgroup.Path)...)
		for _, file := range s.printed(cgroup.Path) {
			patterns = append(patterns, quoteMeta(file))
		}
	}
	slices.Sort(patterns)
	return slices.Compact(patterns)
}

// files lists the pid files of a cgroup: those configured, globs expanded, and those that the command printed.
func (s *Source) files(path string) []string {
	files := slices.Clone(s.printed(path))
	for _, pattern := range s.configured(path) {
		files = append(files, expand(pattern)...)
	}
	slices.Sort(files)
	return slices.Compact(files)
}

// printed returns what the command printed last for a cgroup; it is not to be changed.
func (s *Source) printed(path string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commands[path].files
}

// configured returns the patterns of the configuration for a cgroup.
func (s *Source) configured(path string) []string {
	rules := s.rules.Load()
	if files, ok := rules.Files["/"+path]; ok {
		return files
	}
	return rules.Files[path[strings.LastIndexByte(path, '/')+1:]]
}

// normalise turns every key that is a path into one that begins with a slash, so that no name can be taken for one.
func normalise(files map[string][]string) map[string][]string {
	keys := make([]string, 0, len(files))
	for key := range files {
		keys = append(keys, key)
	}
	slices.Sort(keys) // two spellings of one path are joined in the same order each time
	result := make(map[string][]string, len(files))
	for _, key := range keys {
		trimmed := strings.TrimRight(key, "/")
		if strings.Contains(trimmed, "/") {
			trimmed = "/" + strings.TrimLeft(trimmed, "/")
		}
		result[trimmed] = append(result[trimmed], files[key]...)
	}
	return result
}
