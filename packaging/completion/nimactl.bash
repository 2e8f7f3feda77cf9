# Completion of nimactl(1) for bash.
# The lists of commands and options are written by packaging/make_manual.py.

_nimactl_sources() {
  # The names of the migrated sources; a daemon that does not answer at once is not waited for.
  nimactl --json --timeout 0.5 migrate --status 2>/dev/null |
    sed 's/"name":/\n&/g' | sed -n 's/^"name": *"\([^"]*\)".*/\1/p'
}

_nimactl_files() {
  compopt -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(compgen -f -- "$1")
}

_nimactl() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
  local command="" word place
  for ((place = 1; place < COMP_CWORD; place++)); do
    word=${COMP_WORDS[place]}
    case $word in
      --socket | --timeout) ((place++)) ;;
      -*) ;;
      *) command=$word && break ;;
    esac
  done

  # BEGIN words
  local commands="query get similar related complete phi narrative goal dream person connect step graph remember forget capture import export backup restore migrate status rebuild doctor metrics bugreport bench audit redate web fleet mcp hook"
  local options="--help --json --socket --timeout --version"
  case $command in
    query) options="-k --mode --who --where --layer --namespace --agent --origin --tag --after --before --as-of --time-zone --context --budget --strictness --goal --fleet --explain --help --json --socket --timeout --version" ;;
    similar) options="--dense -k --help --json --socket --timeout --version" ;;
    related) options="--depth -k --help --json --socket --timeout --version" ;;
    complete) options="--who --what --where --when --context --emotion --theme --ask -k --namespace --agent --origin --time-zone --help --json --socket --timeout --version" ;;
    phi) options="--top --seconds --time-zone --help --json --socket --timeout --version" ;;
    narrative) options="--day --who --since --budget --namespace --agent --origin --time-zone --help --json --socket --timeout --version" ;;
    goal) options="--priority --due --who --namespace --by --all --time-zone --help --json --socket --timeout --version" ;;
    dream) options="--dry-run --seconds -k --namespace --help --json --socket --timeout --version" ;;
    person) options="--namespace --agent --origin --time-zone --help --json --socket --timeout --version" ;;
    connect) options="--time-zone --help --json --socket --timeout --version" ;;
    step) options="-n --affect --namespace --dry-run --help --json --socket --timeout --version" ;;
    graph) options="--param --limit --fresh --help --json --socket --timeout --version" ;;
    remember) options="--who --where --when --layer --importance --tag --namespace --origin --agent --time-zone --help --json --socket --timeout --version" ;;
    forget) options="--purge --all-forgotten --where --time-zone --fleet --dry-run --help --json --socket --timeout --version" ;;
    capture) options="--namespace --agent --time-zone --help --json --socket --timeout --version" ;;
    import) options="--from --name --agent --mask --verify --dry-run --namespace --time-zone --from-line --help --json --socket --timeout --version" ;;
    export) options="--namespace --agent --origin --all --output --help --json --socket --timeout --version" ;;
    backup) options="--keep --verify --drill --help --json --socket --timeout --version" ;;
    restore) options="--into --config --help --json --socket --timeout --version" ;;
    migrate) options="--status --pause --resume --now --verify --rollback --quarantine --retry-quarantined --restore --forget-backup --strategy --batch-size --start-offset --name --dry-run --wait --follow --every --watch --to --time-zone --yes --help --json --socket --timeout --version" ;;
    status) options="--history --help --json --socket --timeout --version" ;;
    metrics) options="--output --help --json --socket --timeout --version" ;;
    bugreport) options="--print --yes --help --json --socket --timeout --version" ;;
    bench) options="--in --memories --help --json --socket --timeout --version" ;;
    audit) options="--kind --limit --time-zone --help --json --socket --timeout --version" ;;
    redate) options="--time-zone --help --json --socket --timeout --version" ;;
    web) options="--port --idle --url --help --json --socket --timeout --version" ;;
    fleet) options="--config --help --json --socket --timeout --version" ;;
    mcp) options="--namespace --agent --read-only --help --json --socket --timeout --version" ;;
    hook) options="--namespace --agent --help --json --socket --timeout --version" ;;
  esac
  # END words

  COMPREPLY=()
  case $previous in
    --socket | --output | --to | --into | --config) _nimactl_files "$current" && return ;;
    --mode) mapfile -t COMPREPLY < <(compgen -W "hybrid meaning words" -- "$current") && return ;;
    --ask)
      mapfile -t COMPREPLY < <(
        compgen -W "who what where when context emotion theme" -- "$current"
      )
      return
      ;;
    --affect)
      mapfile -t COMPREPLY < <(
        compgen -W "seeking rage fear lust care panic play" -- "$current"
      )
      return
      ;;
    --strategy) mapfile -t COMPREPLY < <(compgen -W "full incremental" -- "$current") && return ;;
    --kind)
      mapfile -t COMPREPLY < <(
        compgen -W "duplicate near_duplicate junk contradiction undated large never_found" -- "$current"
      )
      return
      ;;
    --layer)
      mapfile -t COMPREPLY < <(
        compgen -W "input contemplation output legacy_vsa note" -- "$current"
      )
      return
      ;;
    --from)
      mapfile -t COMPREPLY < <(
        compgen -W "openclaw claude-code server-memory claude-ai chatgpt mcp-memory-service mem0
          markdown claude-mem" -- "$current"
      )
      return
      ;;
    --origin)
      mapfile -t COMPREPLY < <(compgen -W "owner agent untrusted system imported" -- "$current")
      return
      ;;
    --verify | --rollback | --forget-backup | --quarantine | --retry-quarantined | --restore)
      [[ $command == backup ]] && _nimactl_files "$current" && return
      mapfile -t COMPREPLY < <(compgen -W "$(_nimactl_sources)" -- "$current")
      return
      ;;
    --status | --pause | --resume)
      if [[ $command == migrate && $current != -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_nimactl_sources)" -- "$current")
        return
      fi
      ;;
    -k | --keep | --limit | --timeout | --who | --where | --when | --namespace | --agent | --tag | --after | --before | \
      --what | --context | --emotion | --theme | --top | --seconds | --importance | --depth | \
      --day | --since | --budget | --priority | --due | --by | -n | \
      --batch-size | --start-offset | --name | --from-line | --port | --idle)
      return
      ;;
  esac

  if [[ -z $command && $current != -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$current")
  elif [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
  else
    case $command in
      backup | capture | import | migrate | restore) _nimactl_files "$current" ;;
      dream) mapfile -t COMPREPLY < <(compgen -W "list accept reject" -- "$current") ;;
      fleet) mapfile -t COMPREPLY < <(compgen -W "status join leave" -- "$current") ;;
      goal) mapfile -t COMPREPLY < <(compgen -W "add list show done" -- "$current") ;;
      hook) mapfile -t COMPREPLY < <(compgen -W "session-start prompt stop" -- "$current") ;;
      rebuild) mapfile -t COMPREPLY < <(compgen -W "words blocks graph all" -- "$current") ;;
    esac
  fi
}

complete -F _nimactl nimactl
