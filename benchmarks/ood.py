"Out of distribution: scores on frozen features, for photos of a label that was left out and for photos of anything"
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
import numpy as np
from sklearn.metrics import roc_auc_score
from _bench import arguments, draw_rackets, report
from tellapart.demo.draw import draw
from tellapart.features import file_features, unit
from tellapart.train.head import choose_C, fit_head, make_folds
from tellapart.use.ood import KNNDetector, energy, softmax

SEEDS = 5
DIMENSIONS = 64 # of the features, by principal components, for RMDS: with all 1280, its matrices would be singular


def rmds(x, known, labels, names):
    "Relative Mahalanobis distance (Ren et al. 2021), negated"
    centre = known.mean(0)
    axes = np.linalg.svd(known - centre, full_matrices=False)[2][:DIMENSIONS].T
    x,known = (x - centre)@axes,(known - centre)@axes
    means = np.stack([known[labels == o].mean(0) for o in names])
    within = known - means[np.searchsorted(names, labels)]
    inverse,overall = (np.linalg.inv(np.cov(o.T) + 1e-6*np.eye(o.shape[1])) for o in (within, known))
    distance = np.stack([np.einsum('ij,jk,ik->i', x - m, inverse, x - m) for m in means], 1)
    return -(distance - np.einsum('ij,jk,ik->i', x, overall, x)[:, None]).min(1)


def fdbd(x, logits, weight, centre):
    "Mean distance to the decision boundaries, relative to the distance to the mean of training (Liu and Qin 2024)"
    best = logits.argmax(1)
    gaps = [[(o[b] - o[j])/np.linalg.norm(weight[b] - weight[j]) for j in range(len(weight)) if j != b] for o,b in zip(logits, best)]
    return np.mean(gaps, 1)/np.linalg.norm(x - centre, axis=1)


def nci(x, logits, weight, centre):
    "Proximity to the weights of the predicted label (Liu and Qin 2025), without the norm of the features, which are of length 1"
    return (weight[logits.argmax(1)]*(x - centre)).sum(1)/np.linalg.norm(x - centre, axis=1)


def scores(x, known, labels, head, energy_std):
    "Each score of photos with the features `x`; `known` are the training photos'"
    logits,u,k = head.logits(x),unit(x),unit(known)
    detector,cosines = KNNDetector(known, 0),np.sort(u@k.T, axis=1)
    centre,names = k.mean(0),np.array(head.labels)
    return {'softmax': softmax(logits).max(1), 'energy': energy(logits), 'kNN': cosines[:, -5:].mean(1),
            'RMDS': rmds(u, k, labels, names),
            'fDBD': fdbd(u, logits, head.weight, centre), 'NCI': nci(u, logits, head.weight, centre),
            'knn+energy': detector.nearest_score(x) + energy(logits)/energy_std}


def measure(x, labels, strangers, left_out, seed):
    "AUROC and share rejected of each score, near and far: photos of the label left out, and strangers"
    rng = np.random.default_rng(seed)
    rest = rng.permutation(np.flatnonzero(labels != left_out))
    train,valid = np.split(rest, [int(.7*len(rest))])
    C,_ = choose_C(x[train], labels[train], make_folds(labels[train], train))
    head = fit_head(x[train], labels[train], C)
    right = np.array(head.labels)[head.logits(x[valid]).argmax(1)] == labels[valid]
    known = x[train],labels[train],head,energy(head.logits(x[valid][right])).std()
    own,near,far = (scores(o, *known) for o in (x[valid][right], x[labels == left_out], strangers))
    found = {}
    for name,a in own.items():
        threshold = np.quantile(a, .05) # 95 % of the right answers are kept
        for kind,b in ('near', near[name]), ('far', far[name]):
            found[f'{kind}, AUROC', name] = roc_auc_score([1]*len(a) + [0]*len(b), np.r_[a, b])
            found[f'{kind}, rejected', name] = 100*(b < threshold).mean()
    return found


def main():
    args = arguments(__doc__)
    with TemporaryDirectory() as tmp:
        photos = args.photos or draw_rackets(Path(tmp)/'drawn', 60, (320, 240))
        files = sorted(o for o in photos.glob('*/*') if o.parent.name != 'none')
        strangers = sorted((photos/'none').glob('*')) # of the folder `none`, if there is one
        if not strangers:
            for i in range(100): draw(None, i, size=(320, 240), seed=-1).save(Path(tmp)/f'{i}.jpg')
            strangers = sorted(Path(tmp).glob('*.jpg'))
        x,far = file_features(files, Path(tmp)),file_features(strangers, Path(tmp))
    labels,far = np.array([o.parent.name for o in files]),far[~np.isnan(far[:, 0])]
    labels,x = labels[~np.isnan(x[:, 0])],x[~np.isnan(x[:, 0])]
    runs = [measure(x, labels, far, left_out, seed) for left_out in np.unique(labels) for seed in range(SEEDS)]
    names = list(dict.fromkeys(name for _,name in runs[0]))
    rows = [(f'{kind}, {name}', mean(o[kind, name] for o in runs), '%' if 'rejected' in kind else '') for kind,name in runs[0]]
    ahead = [o['near, AUROC', 'knn+energy'] - o['near, AUROC', 'RMDS'] for o in runs]
    rows += [('photos', len(x), ''), ('strangers', len(far), ''), ('left out, times seeds', len(runs), ''),
             ('knn+energy before RMDS, near AUROC', mean(ahead), ''),
             ('its 95 % interval, plus or minus', 1.96*stdev(ahead)/len(ahead)**.5, '')]
    report('ood', rows, {}, ['tellapart', 'scikit-learn'], columns=[names])


if __name__ == '__main__': main()
