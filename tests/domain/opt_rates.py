import sys
sys.path.insert(0,'/tmp/wt/d')
from pathlib import Path
from callrail_relay.domain.opt_keywords import read_opt_keyword, OptKeyword
here=Path(__file__).parent/'replies'
def load(n): return [l.replace('\\n','\n') for l in (here/n).read_text().splitlines() if l and not l.startswith('#')]
show=sys.argv[1:]
for n in ('tuned_opt_outs','held_out_opt_outs','doubtful','tuned_ordinary','held_out_ordinary','second_held_out_opt_outs','second_held_out_ordinary','third_held_out_opt_outs','third_held_out_ordinary'):
    r=load(n+'.txt'); by={}
    for t in r: by.setdefault(read_opt_keyword(t),[]).append(t)
    print(n,len(r),{str(k):len(v) for k,v in by.items()})
    if n in show:
        for k,v in by.items():
            ok = (k is OptKeyword.STOP) if 'opt_outs' in n else (k in (OptKeyword.MAYBE_STOP,)) if n=='doubtful' else k in (None,OptKeyword.START,OptKeyword.YES)
            if not ok:
                for t in v: print('   ',k,repr(t))
