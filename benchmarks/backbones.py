"Networks for small projects: how large they are, how long a photo takes, and how good others found them on ImageNet"
import json, sys, tempfile
from pathlib import Path

PIXELS,TRAINED_PIXELS,BATCH = 224,128,16
# Network → accuracy on ImageNet in percent, as torchvision's documentation and timm's results give it
NETWORKS = dict(resnet18=69.8, resnet34=73.3, resnet50=80.9, tf_efficientnet_lite0=75.5, mobilenetv4_conv_small=74.6, repvit_m1_1=81.3,
                convnext_tiny=82.9)


def median_seconds(f, n):
    "The median time of `n` calls, after one that warms up"
    import statistics, time
    times = []
    for _ in range(n + 1):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def measure(name):
    "Print the parameters of a network in millions, and the ms that a photo takes by onnxruntime and in a training step of PyTorch"
    import onnxruntime, timm, torch, torchvision
    from tellapart.machine import cpu_count
    create = torchvision.models.get_model if name.startswith('resnet') else timm.create_model
    model,options = create(name).eval(),onnxruntime.SessionOptions()
    options.intra_op_num_threads = cpu_count()
    torch.set_num_threads(cpu_count())
    x = torch.randn(4, 3, PIXELS, PIXELS)
    with tempfile.TemporaryDirectory() as folder:
        torch.onnx.export(model, (x,), file := str(Path(folder)/'model.onnx'), dynamo=False)
        session = onnxruntime.InferenceSession(file, options, providers=['CPUExecutionProvider'])
    classify = median_seconds(lambda: session.run(None, {session.get_inputs()[0].name: x.numpy()}), 15)/len(x)
    x,y = torch.randn(BATCH, 3, TRAINED_PIXELS, TRAINED_PIXELS),torch.randint(0, 9, (BATCH,))
    optimizer = torch.optim.SGD(model.train().parameters(), 1e-3)
    def step():
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
    parameters = sum(o.numel() for o in model.parameters())
    print('\n' + json.dumps(dict(parameters=parameters/1e6, classify=classify*1e3, train=median_seconds(step, 7)/BATCH*1e3)))


def main():
    "Measure each network in a process of its own, and report"
    from _bench import in_process, median, report
    found = {o: median([in_process(__file__, o) for _ in range(3)]) for o in NETWORKS}
    columns = dict(parameters=('parameters', 'million'), classify=('classified', 'ms'), train=('trained', 'ms'))
    rows = [(f'{name}, {column}', one[key], unit) for name,one in found.items() for key,(column,unit) in columns.items()]
    rows += [(f'{name}, ImageNet', accuracy, '%') for name,accuracy in NETWORKS.items()]
    ratios = {name: found['resnet18']['classify']/one['classify'] for name,one in found.items()}
    report('backbones', rows, ratios, ['tellapart', 'torch', 'timm', 'onnxruntime'],
           columns=[[*(o for o,_ in columns.values()), 'ImageNet']])


if __name__ == '__main__':
    if sys.argv[1:2] == ['--measure']: measure(*sys.argv[2:])
    else:
        from _bench import arguments
        arguments(__doc__)
        main()
