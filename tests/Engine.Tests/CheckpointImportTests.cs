// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Reflection;
using Tidemark.Engine.Checkpoints;
using Tidemark.Engine.Doctor.Facts;
using Tidemark.Engine.Machines;
using Tidemark.Lab;
using Tidemark.Libvirt;

namespace Tidemark.Engine.Tests;

/// <summary>An import that fails half-way leaves the records as they were.</summary>
public sealed class CheckpointImportTests(LabFixture fixture)
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task FailureAtAnyRecord_LeavesTheRecordsAsTheyWere(int failing)
    {
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await LabMachine.DefineAsync(fixture.Host, $"halfway-{failing}", new LabDisk("vda", 1 << 20));
        var uuid = machine.Domain.Uuid.ToString("d");
        foreach (var name in (string[])["one", "two", "three"])
            await machine.Domain.CreateCheckpointAsync(
                $"<domaincheckpoint><name>{name}</name></domaincheckpoint>", cancellationToken: EngineLab.Token);
        await using var examiner = await Hypervisors.ExamineAsync(lab.Host.Uri, EngineLab.Token);
        var document = CheckpointDocument.Of(await examiner.ReadBitmapsAsync(uuid, EngineLab.Token));

        // One is gone, one has another parent, one stays.
        await machine.Domain.DeleteCheckpointAsync("three", CheckpointDeleteFlags.MetadataOnly, EngineLab.Token);
        await machine.Domain.DeleteCheckpointAsync("one", CheckpointDeleteFlags.MetadataOnly, EngineLab.Token);
        var facts = await examiner.ReadBitmapsAsync(uuid, EngineLab.Token);
        Assert.Null(Assert.Single(facts.Checkpoints).Parent);

        var options = new ImportOptions(OtherMachine: false, OnlyUsable: false);
        var refusing = Refusing.Around(lab.Hypervisor, failing);
        var error = await Assert.ThrowsAsync<EngineException>(
            () => CheckpointImport.RunAsync(refusing, facts, document, options, EngineLab.Token));
        Assert.StartsWith("Nothing was imported: ", error.Message, StringComparison.Ordinal);
        var after = Assert.Single((await examiner.ReadBitmapsAsync(uuid, EngineLab.Token)).Checkpoints);
        Assert.Equal(("two", null), (after.Name, after.Parent));

        var result = await CheckpointImport.RunAsync(lab.Hypervisor, facts, document, options, EngineLab.Token);
        Assert.Equal(["one", "three"], result.Added);
        Assert.Equal(["two"], result.Replaced);
        Assert.Equal(
            document.Checkpoints.Select(record => (record.Name, record.Parent)),
            (await lab.Hypervisor.CheckpointsAsync(uuid, EngineLab.Token)).Select(record => (record.Name, record.Parent)));
        await machine.StopAsync(EngineLab.Token);
    }

    /// <summary>Given in any order, all are told or none, again and again; the listing goes page by page.</summary>
    [Fact]
    public async Task TwoThousandCheckpoints_AreImportedAllOrNone_AndListedPageByPage()
    {
        const int count = 2000;
        await using var lab = await EngineLab.CreateAsync(fixture);
        var machine = await LabMachine.DefineAsync(fixture.Host, "thousands", new LabDisk("vda", 1 << 20));
        var uuid = machine.Domain.Uuid.ToString("d");
        var random = new Random(2000);
        var names = Enumerable.Range(0, count).Select(i => $"c{i:d4}").ToArray();
        await ManyBitmaps.AddAsync(machine, names);
        await machine.StopAsync(EngineLab.Token);

        // A tree with branches: a checkpoint's parent is one of the ten before it.
        var records = names.Select((name, i) => new CheckpointRecord
        {
            Name = name,
            Parent = i == 0 ? null : names[i - random.Next(1, Math.Min(i, 10) + 1)],
            Created = DateTimeOffset.UnixEpoch.AddDays(20_000).AddMinutes(i),
            Disks = [new TrackedDisk("vda")],
        }).ToArray();
        random.Shuffle(records);
        await using var examiner = await Hypervisors.ExamineAsync(lab.Host.Uri, EngineLab.Token);
        var facts = await examiner.ReadBitmapsAsync(uuid, EngineLab.Token);
        var document = CheckpointDocument.Parse(
            new CheckpointDocument { Format = CheckpointDocument.FormatName, V = 1, MachineUuid = uuid, Checkpoints = records }.ToBytes(),
            "shuffled");
        var options = new ImportOptions(OtherMachine: false, OnlyUsable: false);

        await Assert.ThrowsAsync<EngineException>(() => CheckpointImport.RunAsync(
            Refusing.Around(lab.Hypervisor, 30), facts, document, options, EngineLab.Token));
        Assert.Empty(await EngineLab.CheckpointsAsync(machine));

        var clock = Stopwatch.StartNew();
        var imported = await CheckpointImport.RunAsync(lab.Hypervisor, facts, document, options, EngineLab.Token);
        var importing = clock.Elapsed;
        Assert.Equal(names, imported.Added.Order(StringComparer.Ordinal));
        clock.Restart();
        facts = await examiner.ReadBitmapsAsync(uuid, EngineLab.Token);
        var reading = clock.Elapsed;
        var again = await CheckpointImport.RunAsync(lab.Hypervisor, facts, document, options, EngineLab.Token);
        Assert.Equal((0, 0, count), (again.Added.Count, again.Replaced.Count, again.Unchanged.Count));
        clock.Restart();
        AssertPages(facts, records);
        TestContext.Current.TestOutputHelper?.WriteLine(
            $"Imported in {importing.TotalSeconds:f1} s, read in {reading.TotalSeconds:f2} s, listed in {clock.Elapsed.TotalSeconds:f2} s");
        Assert.InRange(importing, TimeSpan.Zero, TimeSpan.FromMinutes(3)); // nearly all of it libvirt's, which other tests use as well
    }

    private static void AssertPages(BitmapFacts facts, CheckpointRecord[] records)
    {
        var listed = new List<ListedCheckpoint>();
        for (string? after = null; ;)
        {
            var page = CheckpointListing.Make(facts, new CheckpointPage(300, after), null);
            listed.AddRange(page.Checkpoints);
            Assert.InRange(page.Checkpoints.Count, 1, 300);
            after = page.Next;
            if (after is null)
                break;
        }

        Assert.Equal(
            records.OrderBy(record => record.Name, StringComparer.Ordinal).Select(record => (record.Name, record.Parent, record.Created)),
            listed.OrderBy(item => item.Name, StringComparer.Ordinal).Select(item => (item.Name, item.Parent, item.Created)));
        var places = listed.Select((item, i) => (item.Name, i)).ToDictionary(place => place.Name, place => place.i, StringComparer.Ordinal);
        Assert.All(listed, item => Assert.True(item.Parent is null || places[item.Parent] < places[item.Name]));
        Assert.All(listed, item => Assert.Equal("recording", Assert.Single(item.Disks).Health));
    }

    /// <summary>A hypervisor that refuses the n-th record it is told of, after it took effect.</summary>
    public class Refusing : DispatchProxy
    {
        private IHypervisor _inner = null!;
        private int _left;

        public static IHypervisor Around(IHypervisor inner, int failing)
        {
            var proxy = Create<IHypervisor, Refusing>();
            (((Refusing)(object)proxy)._inner, ((Refusing)(object)proxy)._left) = (inner, failing);
            return proxy;
        }

        protected override object? Invoke(MethodInfo? targetMethod, object?[]? args)
        {
            var result = targetMethod!.Invoke(_inner, args);
            return targetMethod.Name == nameof(IHypervisor.RedefineCheckpointAsync) && --_left == 0 ? RefuseAsync((Task)result!) : result;
        }

        private static async Task RefuseAsync(Task done)
        {
            await done;
            throw EngineException.Failed("The connection was lost.");
        }
    }
}
