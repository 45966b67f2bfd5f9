// SPDX-License-Identifier: Apache-2.0
using System.Reflection;
using Tidemark.Engine.Checkpoints;
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
